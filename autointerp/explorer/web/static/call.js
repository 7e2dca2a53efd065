// One item: what the judge saw, what it replied, how the reply was read, and every attempt.
import {$, addressOf, addressOfJudgements, el, fetchJson, fileOfRun, many, onKeys, part, problem, run, short, visible} from './dom.js';
import {dollars, duration, moment} from './figures.js';
import {addressOfItem, badge, itemIn, lastItems, marked} from './item.js';
import {json, verbatim} from './prompt.js';

let whole = false, shown = '', unit = '';
const unitLink = id => el('a', {href: addressOf(id)}, visible(id));

// The head: what was asked, and how it ended.
const KINDS = {explain: 'Explanation of ', grade: 'Grade of ', probe: 'A question to the server'};
const title = item => [KINDS[item.kind] ?? item.kind + ': ', item.unit_id ? unitLink(item.unit_id) : ''];
const level = (item, levels) => levels.find(each => each.grade === item.grade)?.text ?? '';
const ended = (given, item) => el('div', {class: 'ended-box ' + (item.state === 'scored' ? 'scored' : 'unscored')}, badge(item),
  el('div', {}, item.state === 'scored' ? el('p', {class: 'level', id: 'level'}) : el('p', {}, el('b', {}, item.id.startsWith('call-') ? 'Call' : 'Unscored'), ': ' + given.meaning + '.'),
    item.reason ? el('p', {class: item.state === 'scored' ? 'said-reason' : 'soft', dir: 'auto'}, visible(item.reason)) : null));
const facts = given => {
  const {item} = given, rows = [];
  if (item.arm) rows.push(['text', given.arm_meaning]);
  if (given.explained_unit && given.explained_unit !== item.unit_id) rows.push(['explanation of', unitLink(given.explained_unit)]);
  if (item.repeat) rows.push(['repeat', String(item.repeat)]);
  if (item.judge) rows.push(['judge', 'the second judge']);
  if (given.window) rows.push(['activation', short(given.window.activation) + ', ' + Math.round(100 * given.window.activation_fraction) + '% of the maximum' + (given.window.bin ? ', bin ' + given.window.bin : '')], ['place', 'document ' + given.window.document + ', token ' + given.window.position]);
  return el('dl', {class: 'inputs'}, rows.map(([name, value]) => el('div', {}, el('dt', {}, name), el('dd', {}, value))));
};

// What the judge saw and said.
const BUILT = {true: 'made again by the same builders; it is the same by its hash', null: 'made again by the same builders', false: 'made again, and not the one that was asked: the rubric, the spec or the program has changed since'};
const seen = (given, made) => {
  const stored = given.prompt, prompt = stored ?? made?.prompt;
  if (!prompt) return el('p', {class: 'soft'}, given.missing && made?.why ? visible(made.why) : made === null ? 'reading the run' : made.why ? visible(made.why) : given.item.kind === 'explain' && given.item.state === 'scored' ? 'Nobody was asked: the explanation was given.' : 'Nobody was asked.');
  const note = stored ? 'as it was sent' : BUILT[String(made.same)];
  return [verbatim('System prompt', note, prompt.system), verbatim('Message', note, prompt.user)];
};
const format = (given, made) => {
  if (made === null) return [el('p', {class: 'soft'}, 'reading the run')];
  if (!made.prompt) return [made.why && given.prompt ? el('p', {class: 'soft'}, 'The schema and the parameters are not stored with a call, and cannot be made again: ', visible(made.why)) : null];
  if (given.prompt && !made.same) return [el('p', {class: 'problem'}, 'The schema is not known: the question as this version makes it is not the one that was sent. The rubric, the spec or the program has changed since.')];
  const limit = el('p', {class: 'soft'}, 'At most ' + many(made.prompt.max_tokens, 'token') + ' of reply', made.prompt.choices.length ? '; the probabilities of ' + made.prompt.choices.join(', ') + ' were asked for' : '', '.');
  return [limit, made.prompt.choices.length ? null : json('Schema of the reply', 'made again by the same builders', made.prompt.schema), json('Parameters', 'of the judge, from the spec', made.parameters)];
};
const probabilities = given => given && el('ol', {class: 'tokens probabilities', 'aria-label': 'probabilities of the first token'}, Object.entries(given).sort((a, b) => b[1] - a[1]).slice(0, 10).map(([token, p]) => {
  const bar = el('i', {});
  bar.style.width = (100 * p).toFixed(1) + '%';
  return el('li', {}, el('code', {class: 'token'}, visible(token)), el('span', {class: 'bar'}, bar), el('span', {class: 'num'}, p.toFixed(3)));
}));
const value = given => Array.isArray(given) && given.length === 1 ? value(given[0]) : Array.isArray(given) && given.some(each => typeof each === 'object') ? [el('ol', {class: 'plain numbered'}, given.map(each => el('li', {}, value(each))))]
  : given?.unusable ? [el('span', {class: 'why'}, 'not read'), ' ', visible(given.unusable)] : given && typeof given === 'object' && 'grade' in given ? ['grade ' + given.grade, given.expected === null ? null : ', expected ' + given.expected.toFixed(2), given.reason ? [': ', el('span', {dir: 'auto', class: 'soft'}, visible(given.reason))] : null].flat()
  : [el('code', {}, visible(typeof given === 'string' ? given : JSON.stringify(given)))];
const read = made => {
  if (!made?.reading) return null;
  const {reading} = made;
  if (reading.outcome !== 'scored') return el('p', {class: 'reading'}, el('b', {}, 'Not read'), ': ' + visible(reading.reason || reading.outcome));
  return el('p', {class: 'reading'}, el('b', {}, 'Read as'), ' ', value(reading.value));
};
const replied = (given, made) => {
  const main = given.calls.find(each => each.call_id === given.main);
  if (main) return [main.reply ? verbatim('Reply', 'as it came', main.reply, false) : el('p', {class: 'soft'}, 'No reply: ' + visible(main.meaning) + (main.reason ? ': ' + visible(main.reason) : '') + '.'), probabilities(main.probabilities), read(made)];
  if (made?.reply) return [verbatim('Reply', made.is_llm ? '' : 'made again: this judge is a function of the prompt, and the ledger keeps its grade alone', made.reply.text, false), probabilities(made.reply.probabilities), read(made)];
  return made === null ? [] : [el('p', {class: 'soft'}, given.missing || (given.item.state === 'scored' && given.prompt === null ? 'No reply is stored: nobody was asked by a call.' : 'No reply is stored.'))];
};
const attempt = (each, main) => el('details', {class: 'attempt', open: false}, el('summary', {}, el('span', {class: 'why ' + each.state}, each.meaning), el('span', {class: 'num'}, moment(each.started_at)), el('span', {class: 'num'}, duration(each.duration_s)),
    el('span', {class: 'num'}, each.input_tokens + each.cache_write_tokens + each.cache_read_tokens + ' + ' + each.output_tokens + ' tokens'), el('span', {class: 'num'}, dollars(each.cost_usd)), each.call_id === main ? el('span', {class: 'chip'}, 'its answer') : null),
  el('dl', {class: 'inputs'}, [['call', el('a', {href: addressOfItem('call-' + each.call_id)}, String(each.call_id))], ['model', each.judge + (each.served_model && !each.judge.endsWith(each.served_model) ? ', served by ' + each.served_model : '')], ['from cache', each.cache_read_tokens ? many(each.cache_read_tokens, 'token') : ''], ['request', each.request_id], ['worker', each.worker], ['batch', each.batch_key], ['run', each.run_id ?? ''], ['reason', each.reason]]
    .filter(([, value]) => value).map(([name, value]) => el('div', {}, el('dt', {}, name), el('dd', {}, typeof value === 'string' ? visible(value) : value)))),
  each.system === null ? null : verbatim('System prompt', 'of this attempt', each.system), each.user === null ? null : verbatim('Message', 'of this attempt', each.user), each.reply ? verbatim('Reply', 'as it came', each.reply, false) : null);
const others = given => given.results.length ? part(given.item.id.startsWith('call-') ? 'Answered by this call' : 'In the same question', many(given.results.length, 'item'), el('ul', {class: 'plain'}, given.results.map(each => el('li', {class: 'other'}, badge(each), el('a', {href: addressOfItem(each.id)}, visible(each.unit_id)), el('span', {class: 'explanation', dir: 'auto'}, visible(each.explanation ?? '')))))) : null;

const drawItem = (given, made) => {
  const {item} = given;
  return [
    el('header', {class: 'head'}, el('h1', {}, title(item)), el('a', {class: 'soft', href: addressOfJudgements(run, String(new URLSearchParams({unit: item.unit_id})))}, item.unit_id ? 'all of this unit' : '')),
    ended(given, item),
    item.explanation && item.kind !== 'explain' ? el('p', {class: 'said', dir: 'auto'}, visible(item.explanation)) : item.kind === 'explain' && item.explanation ? el('p', {class: 'said', dir: 'auto'}, visible(item.explanation)) : null,
    given.window ? el('p', {class: 'window whole', dir: 'auto'}, marked(given.window)) : null,
    facts(given),
    given.missing ? el('p', {class: 'problem'}, given.missing) : null,
    el('div', {class: 'two'}, part('What the judge saw', made?.judge ? made.judge + (made.is_llm ? '' : ', not an LLM') : '', seen(given, made)), el('div', {}, part('What it replied', '', replied(given, made)),
      given.calls.length ? part('Calls', many(given.calls.length, 'attempt'), given.calls.map(each => attempt(each, given.main))) : null, others(given), made?.prompt || given.prompt ? part('Form of the reply', '', format(given, made)) : null)),
  ].filter(Boolean);
};

// The page.
const step = (link, id) => { link.hidden = !id; if (id) link.setAttribute('href', addressOfItem(id)); };
const show = async id => {
  shown = id;
  try {
    const given = await fetchJson(fileOfRun(run, 'api/calls/' + encodeURIComponent(id) + '?' + lastItems()));
    if (shown !== id) return;
    problem(null);
    unit = given.item.unit_id;
    document.title = given.item.kind + ' of ' + unit + ': ' + given.meaning;
    $('item').replaceChildren(...drawItem(given, null));
    const {place, n, previous, next} = given.within;
    $('within').textContent = place === null ? '' : (place + 1).toLocaleString('en') + ' of ' + n.toLocaleString('en');
    step($('previous'), previous);
    step($('next'), next);
    const made = await fetchJson(fileOfRun(run, 'api/calls/' + encodeURIComponent(id) + '/rebuilt'));
    if (shown !== id) return;
    const at = window.scrollY;
    $('item').replaceChildren(...drawItem(given, made));
    if ($('level')) $('level').textContent = level(given.item, made.levels ?? []);
    unfold();
    window.scrollTo(0, at);
  } catch (error) { if (shown === id) problem(error.message); } finally { if (shown === id) $('item').setAttribute('aria-busy', 'false'); }
};
const go = link => { if (link.hidden) return; const path = link.getAttribute('href'); history.pushState(null, '', path); $('item').setAttribute('aria-busy', 'true'); window.scrollTo(0, 0); show(itemIn(location)); };
const unfold = () => { if (whole) for (const box of document.querySelectorAll('.verbatim')) box.dispatchEvent(new CustomEvent('unfold', {detail: true})); };
const unfoldAll = () => { whole = !whole; for (const box of document.querySelectorAll('.verbatim')) box.dispatchEvent(new CustomEvent('unfold', {detail: whole})); };
const back = () => { location.href = $('back').href; };
window.addEventListener('popstate', () => show(itemIn(location)));
onKeys({j: () => go($('next')), k: () => go($('previous')), x: unfoldAll, u: back, o: () => { if (unit) location.href = addressOf(unit); }, '/': () => { location.href = $('back').href + '#search'; }});
$('back').href = addressOfJudgements(run, lastItems());
$('back').textContent = lastItems() ? 'back to the list' : 'all judgements';
show(itemIn(location));
