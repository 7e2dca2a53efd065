// A text that is typed: which features are active in it, and how it goes on while some are set. The address holds all of it.
import {$, base, fetchJson, many, onKeys, problem, sendJson} from './dom.js';
import {Reading} from './reading.js';
import {Steering} from './steering.js';

const TYPING = 60, RESTING = 600, SLOW = 800, AGAIN = 1000;  // ms after a key until the text is read, and until it is continued; until a wait is said; until a model that ended is opened again
const EXAMPLE = 'The court ruled that the museum in Paris had to return the painting to the family';
const BEFORE = 24, FACTOR = 2;  // tokens of a feature's strongest example that are tried with it; the multiple of its maximum that it is set to at first
const text = /** @type {HTMLTextAreaElement} */ ($('text'));
let limits = {}, isOpen = false, retried = false;

const asks = () => ({text: text.value.toWellFormed?.() ?? text.value, chat: $('chat').checked});
const reading = new Reading({changed: () => keep(), set: unit => steering.toggle(unit), isSet: id => steering.has(id)});
const steering = new Steering({asks, changed: () => { keep(); reading.drawList(); readSoon(0); }, failed: error => failed(error)});

// The address.
const keep = () => {
  const given = new URLSearchParams();
  given.set('text', text.value);
  if ($('chat').checked) given.set('chat', '1');
  reading.write(given);
  steering.write(given);
  history.replaceState(null, '', location.pathname + '#' + given);
};
const restore = async () => {
  const given = new URLSearchParams(location.hash.slice(1)), named = new URLSearchParams(location.search).get('feature');
  if (named && !given.has('text')) { given.append('f', named + ':' + FACTOR); given.set('colour', named); }
  text.value = given.get('text') ?? (named ? await strongest(named) : EXAMPLE);
  $('chat').checked = given.has('chat');
  reading.read(given);
  grow();
  await steering.read(given);
};
const strongest = async id => {  // the beginning of the feature's strongest example, up to the token at which it is strongest
  try {
    const {examples: [first]} = await fetchJson(base + 'api/units/' + encodeURIComponent(id));
    return first ? first.tokens.slice(Math.max(0, first.mark - BEFORE), first.mark + 1).join('').trimStart() : EXAMPLE;
  } catch { return EXAMPLE; }
};

// The model.
const open = async () => {
  isOpen = false;
  $('loading').hidden = false;
  try {
    const ready = await sendJson(base + 'api/live/open', {});
    ({limits} = ready);
    $('chat-choice').hidden = !ready.chat;
    if (!ready.chat) $('chat').checked = false;
    isOpen = true;
    problem(null);
    const isRead = read();
    steering.run();
    await isRead;
    $('below').hidden = false;  // below the tokens, so that nothing moves
  } catch (error) { problem(error.message); } finally { $('loading').hidden = true; }
};
const failed = error => {  // the process of the model has ended: it is opened again, once
  problem(error.message);
  say('');
  if (error.status !== 503 && !error.again || retried) return;
  retried = true;
  setTimeout(open, AGAIN);
};
const read = async () => {
  if (!isOpen) return;
  read.controller?.abort();
  const controller = read.controller = new AbortController();
  if (!text.value) { reading.show(null); $('reading').hidden = true; say(''); return; }
  const slow = setTimeout(() => say('waiting for the model'), SLOW);
  try {
    const answer = await sendJson(base + 'api/live/read', {...asks(), units: [...new Set([...steering.ids(), ...reading.wanted()])].slice(0, limits.units)}, controller.signal);
    if (controller.signal.aborted) return;
    retried = false;
    problem(null);
    reading.show(answer);
    $('reading').hidden = false;
    say(many(answer.tokens.length, 'token') + (answer.n_cut ? ', and ' + answer.n_cut.toLocaleString('en') + ' more that are not read' : '') + ', ' + many(answer.n_active, 'active feature'));
  } catch (error) { if (!controller.signal.aborted) failed(error); } finally { clearTimeout(slow); }
};
const readSoon = wait => { clearTimeout(readSoon.timer); readSoon.timer = setTimeout(read, wait); };
const say = words => { $('size').textContent = words; };

// The form and the keys.
const grow = () => { text.style.height = 'auto'; text.style.height = text.scrollHeight + 'px'; };
const typed = () => { grow(); keep(); readSoon(TYPING); steering.runSoon(RESTING); };
$('try').addEventListener('input', typed);
$('try').addEventListener('submit', event => event.preventDefault());
text.addEventListener('keydown', event => { if (event.key === 'Escape') { event.preventDefault(); reading.focusToken(); } });
window.addEventListener('hashchange', async () => { await restore(); readSoon(0); steering.runSoon(0); });
onKeys({
  '/': () => { text.focus(); text.select(); }, ArrowRight: () => reading.step(1), ArrowLeft: () => reading.step(-1),
  j: () => reading.move(1), k: () => reading.move(-1), s: () => reading.setCurrent(), v: () => steering.focus(), a: () => $('add').focus(),
  r: () => { $('control').click(); },
});
await restore();
await open();
