// One unit. The next and the previous one of the last search are shown in its place, without another page.
import {$, addressOf, addressOfJudgements, addressOfPage, addressOfRun, addressOfSearch, base, bars, el, fetchJson, fixed, grade, isJudged, lastSearch, many, onKeys, part, percent, problem, published, rate, short, token, unitIn, visible} from './dom.js';
import {asking, press, relabelled} from './asking.js';
import {elsewhere} from './elsewhere.js';
import {heat} from './heat.js';
import {editNote, openLists, ownOf} from './notes.js';
import {onTheMap} from './small_map.js';

const BEFORE = 22, AFTER = 12, FIRST = {strongest: 5, bin: 2};  // tokens around the mark; examples shown of the strongest and of a bin
/** @type {Map<string, Promise<any>>} */
const fetched = new Map();
let whole = false, shown = '';

const tryIt = id => addressOfPage('try') + '?' + new URLSearchParams({feature: id});
const fetchUnit = id => {
  const known = fetched.get(id) ?? fetchJson(base + 'api/units/' + encodeURIComponent(id) + '?' + lastSearch());
  known.catch(() => fetched.delete(id));
  fetched.set(id, known);
  if (fetched.size > 20) fetched.delete(fetched.keys().next().value);
  return known;
};

// Parts of the page.
const nothing = words => el('p', {class: 'soft'}, words);
const ofRun = (run, unit) => ['from the run ', el('a', {href: addressOfRun(run)}, visible(run)),
  isJudged(run) ? [', ', el('a', {href: addressOfJudgements(run, String(new URLSearchParams({unit})))}, 'judgements of this unit')] : null];
const from = ({source, from: origin}, unit) => source.startsWith('run:') ? ofRun(source.slice(4), unit)
  : source === 'propagated' ? ['propagated from ', origin ? el('a', {href: addressOf(origin)}, origin) : 'similar features'] : ['made in the explorer'];
const named = judge => [visible(judge), judge === 'embedded' ? ', which is not an LLM' : null];
const label = (each, leading, unit) => {
  const notes = [from(each, unit)];
  if (each.explainer && each.explainer !== each.judge) notes.push(['explained by ', named(each.explainer)]);
  if (each.judge) notes.push([each.explainer === each.judge ? 'explained and graded' : 'graded', each.graded === null ? null : ' on ' + many(each.graded, 'held-out example'), ' by ', named(each.judge)]);
  if (each.silent_grade !== null) notes.push(['control: ' + fixed(each.silent_grade) + ' at other units\u2019 tokens']);
  if (each.shuffled_grade !== null) notes.push(['control: ' + fixed(each.shuffled_grade) + ' for another unit\u2019s explanation']);
  if (each.distinction !== null) notes.push(['distinction ', fixed(each.distinction)]);
  if (each.probability !== null) notes.push([Math.round(100 * each.probability) + '% probable']);
  return el('div', {class: leading ? 'label leading' : 'label'}, grade(each.grade),
    el('div', {}, el('p', {class: 'said', dir: 'auto'}, visible(each.explanation)), el('p', {class: 'soft'}, notes.map((note, i) => [i ? ' \u00b7 ' : '', note]))));
};
const context = (example, maximum) => {
  const first = Math.max(0, example.mark - BEFORE), last = Math.min(example.tokens.length, example.mark + AFTER + 1);
  const cut = first > 0 || last < example.tokens.length;
  const line = el('p', {class: 'window', dir: 'auto'});
  const show = all => {
    line.replaceChildren(...heat(example, maximum, all ? 0 : first, all ? undefined : last));
    button?.setAttribute('aria-expanded', String(all));
    if (button) button.title = all ? 'show less' : 'show the whole context';
  };
  const button = cut ? el('button', {type: 'button', class: 'unfold', 'aria-label': 'whole context', onclick: () => show(button.getAttribute('aria-expanded') !== 'true')}) : null;
  const item = el('li', {class: 'ex'}, el('span', {class: 'num', title: 'activation at the underlined token; document ' + example.document + ', token ' + example.position}, short(example.activation)), line, button);
  item.addEventListener('unfold', event => show(/** @type {CustomEvent} */ (event).detail));
  show(whole);
  return item;
};
const band = (title, note, examples, maximum, first) => {
  const items = el('ol', {class: 'contexts'}, examples.slice(0, first).map(example => context(example, maximum)));
  const rest = examples.length - first;
  const more = rest > 0 && el('button', {type: 'button', class: 'more', onclick: () => { items.append(...examples.slice(first).map(example => context(example, maximum))); more.remove(); }}, many(rest, 'more example'));
  return el('div', {class: 'band'}, el('h3', {}, title, ' ', el('span', {}, note)), items, more);
};
const examples = unit => {
  const {bins} = unit.about, edge = x => Number((x / bins).toFixed(3));
  const groups = Map.groupBy ? Map.groupBy(unit.examples, each => each.bin) : unit.examples.reduce((map, each) => map.set(each.bin, [...map.get(each.bin) ?? [], each]), new Map());
  if (!unit.examples.length) return part('Examples', '', nothing('Never active in ' + many(unit.about.n_tokens, 'token') + '.'));
  const perBin = unit.histogram.length / bins;
  const events = bin => unit.histogram.slice(Math.round((bin - 1) * perBin), Math.round(bin * perBin)).reduce((a, b) => a + b, 0);
  const bands = [...groups].map(([bin, some]) => bin === 0
    ? band('Strongest', many(some.length, 'context') + ' of different text', some, unit.maximum, FIRST.strongest)
    : band('Bin ' + bin, edge(bin - 1) + ' to ' + edge(bin) + ' of the maximum, ' + many(events(bin), 'token'), some, unit.maximum, FIRST.bin));
  return el('section', {class: 'part examples'}, el('h2', {}, 'Examples', el('span', {}, 'by activation at the underlined token')),
    el('p', {class: 'scale'}, el('span', {}, '0'), [1, 2, 3, 4, 5, 6, 7, 8, 9].map(n => el('i', {class: 'h' + n})), el('span', {}, short(unit.maximum)),
      el('button', {type: 'button', class: 'quiet', onclick: () => unfoldAll()}, 'whole contexts ', el('kbd', {}, 'x'))),
    bands);
};
const histogram = unit => {
  if (!unit.events) return nothing('No activation.');
  const counts = unit.histogram, logs = counts.map(n => Math.log10(1 + n));
  const edge = i => short(i * unit.maximum / counts.length);
  return el('figure', {class: 'histogram'}, bars(logs, Math.max(...logs), unit.kind, i => edge(i) + ' to ' + edge(i + 1) + ': ' + many(counts[i], 'token')),
    el('figcaption', {}, el('span', {}, '0'), el('span', {}, 'tokens by activation, log scale'), el('span', {}, short(unit.maximum))));
};
const tokens = (title, list) => {
  const most = Math.max(...list.map(each => Math.abs(each.effect)), 1e-9);
  return el('div', {}, el('h3', {}, title), list.length ? el('ol', {class: 'tokens ' + title}, list.map(each => {
    const bar = el('i', {});
    bar.style.width = (100 * Math.abs(each.effect) / most).toFixed(0) + '%';
    return el('li', {}, token(each.token), el('span', {class: 'bar'}, bar), el('span', {class: 'num'}, fixed(each.effect)));
  })) : nothing('none'));
};
const neighbours = (list, value) => list.length ? el('ol', {class: 'others'}, list.map(each => el('li', {},
  el('span', {class: 'num'}, value(each)), el('a', {href: addressOf(each.unit_id)}, each.unit_id),
  each.explanation === null ? el('span', {class: 'soft'}, each.marked.length ? [each.marked.map(word => [token(word), ' '])] : 'not explained')
    : el('span', {class: 'explanation', dir: 'auto'}, visible(each.explanation))))) : nothing('none');
const {asks, own} = $('unit').dataset;
const tools = unit => {
  const asked = asks === 'yes' ? asking(unit, relabel) : null;
  const kept = own ? ownOf(unit, own === 'write') : null;
  return [el('div', {class: 'tools'}, asked?.buttons, own === 'write' ? [
    el('button', {type: 'button', class: 'tool', id: 'note-button', onclick: editNote}, 'note ', el('kbd', {'aria-hidden': 'true'}, 'n')),
    el('button', {type: 'button', class: 'tool', onclick: openLists}, 'lists ', el('kbd', {'aria-hidden': 'true'}, 'l'))] : null,
    asks && asks !== 'yes' ? el('p', {class: 'soft'}, asks) : null),
  asked?.work, asked?.status, kept?.noteBox, kept?.listBox];
};
const labelsOf = unit => unit.labels.length ? unit.labels.map((each, i) => label(each, i === 0, unit.unit_id)) : [nothing('Not explained yet.')];
const relabel = async id => {  // the labels alone, because a note may be open
  fetched.delete(id);
  const unit = await fetchUnit(id);
  if (shown !== id) return;
  document.querySelector('.labels > div')?.replaceChildren(...labelsOf(unit));
  document.title = titleOf(unit);
  relabelled(unit);
};
const titleOf = unit => unit.unit_id + ': ' + (unit.labels[0]?.explanation ?? 'not explained');
const drawUnit = unit => [
  el('header', {class: 'top-of-unit ' + unit.kind}, el('div', {class: 'named'}, el('h1', {}, el('i', {}), unit.unit_id), unit.events && !published ? el('a', {class: 'try-it', href: tryIt(unit.unit_id)}, 'try it') : null),
    el('dl', {class: 'figures'}, [['density', short(unit.density), rate(unit.density)], ['active at', many(unit.events, 'token'), 'of ' + many(unit.about.n_tokens, 'token')], ['maximum', short(unit.maximum), ''], ['mean', short(unit.mean), 'where active']]
      .map(([name, value, note]) => el('div', {}, el('dt', {}, name), el('dd', {}, value, el('small', {}, note)))))),
  el('div', {class: 'labels'}, el('div', {}, labelsOf(unit)), tools(unit)),
  el('div', {class: 'columns'},
    examples(unit),
    el('aside', {'aria-label': 'figures and neighbours'},
      part('Activations', '', histogram(unit)),
      part('Effect on the next token', 'in logits', el('div', {class: 'pair'}, tokens('promotes', unit.promoted ?? []), tokens('suppresses', unit.suppressed ?? []))),
      part('Nearest', 'cosine of decoder vectors', neighbours(unit.nearest, each => fixed(each.cosine))),
      elsewhere(unit.unit_id),
      part('Active together', 'share of its tokens', neighbours(unit.together, each => percent(each.share))),
      onTheMap(unit),
      unit.neurons?.length ? part('Neurons', 'correlation', el('ol', {class: 'others'}, unit.neurons.map(each => el('li', {}, el('span', {class: 'num'}, fixed(each.correlation)),
        unit.about.n_neurons ? el('a', {href: addressOf(each.unit_id)}, each.unit_id) : el('span', {}, each.unit_id))))) : null)),
];

// The page.
const step = (link, id) => { link.hidden = !id; if (id) link.setAttribute('href', addressOf(id)); };
const searchInWords = () => { const given = new URLSearchParams(lastSearch()); const text = given.get('q') ?? given.get('meaning') ?? given.get('fires'); return text ? '\u201c' + visible(text) + '\u201d' : [...given].length ? 'the list' : 'all units'; };
const show = async (id, top = true) => {
  shown = id;
  try {
    const unit = await fetchUnit(id);
    if (shown !== id) return;
    problem(null);
    document.title = titleOf(unit);
    $('unit').replaceChildren(...drawUnit(unit));
    const {place, n, previous, next} = unit.within;
    $('within').textContent = place === null ? 'not in ' + searchInWords() : (place + 1).toLocaleString('en') + ' of ' + n.toLocaleString('en') + ' in ' + searchInWords().replace('all units', 'the dictionary');
    step($('previous'), previous);
    step($('next'), next);
    for (const each of [previous, next]) if (each) fetchUnit(each).catch(() => {});
    if (top) window.scrollTo(0, 0);
  } catch (error) { if (shown === id) { problem(error.message); $('unit').replaceChildren(el('h1', {}, visible(id))); } } finally { $('unit').setAttribute('aria-busy', 'false'); }
};
const go = link => { if (link.hidden) return; const path = link.getAttribute('href'); history.pushState(null, '', path); show(unitIn(path)); };
const unfoldAll = () => { whole = !whole; for (const item of document.querySelectorAll('.ex')) item.dispatchEvent(new CustomEvent('unfold', {detail: whole})); };
const back = () => { location.href = $('back').href; };

document.addEventListener('click', event => {
  const link = /** @type {Element} */ (event.target).closest?.('a');
  const address = link?.getAttribute('href') ?? '#';
  if (event.ctrlKey || event.metaKey || event.shiftKey || event.button || address.startsWith('#') || unitIn(address) === null) return;
  event.preventDefault();
  go(link);
});
window.addEventListener('popstate', () => show(unitIn(location.href) ?? '', false));
onKeys({j: () => go($('next')), k: () => go($('previous')), x: unfoldAll, u: back, t: () => { document.querySelector('.try-it')?.click(); }, e: () => press('explain'), g: () => press('grade'), n: editNote, l: openLists, '/': () => { location.href = $('back').href + '#search'; }});
$('back').href = addressOfSearch(lastSearch());
$('back').textContent = lastSearch() ? 'back to ' + searchInWords() : 'all units';
show(unitIn(location.href) ?? '');
