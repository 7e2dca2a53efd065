// Two indexes side by side. The address names the other run; a comparison that is not there is asked for, and its progress shown.
import {$, addressOfPage, base, el, fetchJson, fixed, many, onKeys, part, problem, published, sendJson, visible} from './dom.js';
import {distribution, found} from './compare_charts.js';
import {figuresTable, measuresTable} from './compare_tables.js';
import {PairList} from './compare_list.js';

const AGAIN = 700;  // ms
const other = () => new URLSearchParams(location.search).get('with') ?? '';
/** @type {PairList | null} */
let list = null;
let drawn = '';

// The head: both indexes.
const FACTS = [
  ['dictionary', side => side.dictionary.split('/').filter(part => part && part !== '..').slice(-2).join('/')],
  ['hook point', side => side.hook_point], ['features', side => many(side.n_features, 'feature') + ', ' + side.architecture],
  ['subject', side => side.subject + ', ' + side.precision], ['corpus', side => side.corpus],
  ['counted', side => many(side.n_tokens, 'token') + ' of ' + many(side.n_documents, 'document')],
  ['explained by', side => who(side.explainer, side.baselines)], ['graded by', side => who(side.judge, side.baselines)],
];
const who = (name, baselines) => name === null ? '\u2013' : name + (baselines.includes(name) ? ', not an LLM' : '');
const facts = sides => el('table', {class: 'facts-table'},
  el('thead', {}, el('tr', {}, el('th', {scope: 'col'}, el('span', {class: 'hidden'}, 'fact')), sides.map((side, i) =>
    el('th', {scope: 'col', class: i ? 'other' : 'own'}, el('i', {}), el('a', {href: addressOfPage('', side.base)}, visible(side.name)))))),
  el('tbody', {}, FACTS.map(([name, value]) => {
    const values = sides.map(value);
    return el('tr', {class: values[0] === values[1] ? 'alike' : 'differs'}, el('th', {scope: 'row'}, name), values[0] === values[1]
      ? el('td', {colspan: 2}, visible(values[0])) : values.map(each => el('td', {}, visible(each))));
  })));

// The verdict on the grades.
const verdict = (grades, sides) => grades === null
  ? part('Grades', '', el('p', {class: 'soft'}, 'Grades are compared if both indexes are of finished runs.'))
  : el('section', {class: 'part'}, el('h2', {}, 'Grades', grades.measures.length ? el('span', {}, 'of the units that were drawn and graded: a sample') : null),
    el('p', {class: 'verdict ' + grades.tone.replaceAll(' ', '-')}, visible(grades.verdict)),
    grades.measures.length ? measuresTable(grades, sides) : null,
    grades.notes.length ? el('ul', {class: 'notes'}, grades.notes.map(note => el('li', {}, visible(note)))) : null);

const overview = answer => {
  const {sides, found: again} = answer;
  const census = answer.same_tokens ? 'of all features, at the same tokens: exact, without an interval'
    : answer.same_tokens === false ? 'of all features, each index at the tokens that it counted' : 'of all features';
  return [
    facts(sides),
    answer.why ? el('p', {class: 'relation'}, visible(answer.why), answer.same_tokens === false && answer.relation !== 'apart'
      ? ' The indexes counted other tokens: a feature that is rare may be active in one alone.' : null) : null,
    answer.state === 'done' ? verdict(answer.grades, sides) : null,
    again && answer.relation === 'space' ? part('Found again', 'of all active features', found(again, sides)) : null,
    answer.texts?.explained ? part('Explanations', 'of pairs in which both features are explained', el('p', {},
      'Different explanations in ' + answer.texts.changed.toLocaleString('en') + ' of ' + many(answer.texts.explained, 'pair')
      + (answer.texts.similarity === null ? '.' : '; the median cosine of their meanings is ' + fixed(answer.texts.similarity) + '.'))) : null,
    part('Figures', census, figuresTable(answer.figures.filter(each => each.basis === 'census'), sides)),
    part('Distributions', 'of active features; grades of those that are graded', el('div', {class: 'charts'}, answer.distributions.map(each => distribution(each, sides)))),
  ];
};

// The work.
const progress = answer => {
  $('work').hidden = answer.state === 'done';
  if (answer.state === 'done') return;
  const words = {new: 'asking for the comparison', waiting: 'waiting for another comparison', failed: answer.error}[answer.state] ?? answer.phase;
  $('work').replaceChildren(...[el('p', {}, answer.state === 'failed' ? 'Not compared: ' : 'Comparing: ', visible(words ?? ''),
      answer.total > 1 ? ', ' + answer.done.toLocaleString('en') + ' of ' + answer.total.toLocaleString('en') : ''),
    answer.state === 'failed' ? !published && el('button', {type: 'button', onclick: () => start()}, 'try again')
      : el('progress', {'aria-label': 'progress of the comparison', ...(answer.total > 1 ? {max: answer.total, value: answer.done} : {})})].filter(Boolean));
};
const start = async () => {
  try {
    await sendJson(base + 'api/compare', {with: other()});
    await load();
  } catch (error) { progress({state: 'failed', error: error.message}); }
};
const load = async () => {
  clearTimeout(load.timer);
  const run = other();
  try {
    const answer = await fetchJson(base + 'api/compare?with=' + encodeURIComponent(run));
    if (run !== other()) return;
    problem(null);
    progress(answer);
    $('overview').setAttribute('aria-busy', String(!['done', 'failed'].includes(answer.state)));
    const version = run + ' ' + (answer.state === 'done');
    if (version !== drawn) {
      drawn = version;
      document.title = answer.sides.map(side => side.name).join(' and ');
      $('overview').replaceChildren(...overview(answer).filter(Boolean));
      $('matched').hidden = !answer.lengths;
      if (answer.lengths) (list ??= new PairList()).open(run, answer);
    }
    if (answer.state === 'new') start();
    else if (answer.state !== 'done' && answer.state !== 'failed') load.timer = setTimeout(load, AGAIN);
  } catch (error) { problem(error.message); $('overview').setAttribute('aria-busy', 'false'); }
};

// The choice of the other run.
const choose = async () => {
  try {
    const {runs} = await fetchJson(base + 'api/compare');
    const indexed = runs.filter(run => run.index);
    $('with').replaceChildren(el('option', {value: ''}, indexed.length ? 'choose a run' : published ? 'no other run' : 'no other run has an index'),
      ...runs.map(run => el('option', {value: run.run, disabled: !run.index}, visible(run.run) + (run.index ? '' : ' (no index)'))));
    $('with').disabled = !indexed.length;
    $('with').value = other();
    const lacking = runs.filter(run => !run.index);
    const none = published ? 'This folder holds one run: publish it with others to compare them.' : 'No other run of this results folder has an index yet.';
    $('no-runs').hidden = Boolean(other());
    $('no-runs').replaceChildren(
      el('p', {class: 'soft'}, indexed.length ? 'Which features of one dictionary are found again in another, and where grades and explanations differ. Choose the run to compare this one with:' : none),
      el('ul', {class: 'choices'}, indexed.map(run => el('li', {}, el('a', {href: '?with=' + encodeURIComponent(run.run)}, visible(run.run))))),
      lacking.length ? el('p', {class: 'soft'}, 'These have none; the command makes one:') : '',
      el('ul', {class: 'choices'}, lacking.map(run => el('li', {}, el('code', {}, 'autointerp index ' + visible(run.run))))));
    if (!other()) $('overview').setAttribute('aria-busy', 'false');
  } catch (error) { problem(error.message); }
};
$('with').addEventListener('change', () => { if ($('with').value) location.search = '?with=' + encodeURIComponent($('with').value); });
$('choose').addEventListener('submit', event => event.preventDefault());

/** The first or the last entry in the list, and the beginning or the end of the page outside it. @param {number} place */
const end = place => () => (document.activeElement?.closest('#list') ? onList(each => each.select(place))() : window.scrollTo(0, place ? document.body.scrollHeight : 0));
const onList = action => () => { if (list && !$('matched').hidden) action(list); };
onKeys({
  j: onList(each => each.move(1)), ArrowDown: () => (document.activeElement?.closest('#list') ? onList(each => each.move(1))() : window.scrollBy(0, 60)),
  k: onList(each => each.move(-1)), ArrowUp: () => (document.activeElement?.closest('#list') ? onList(each => each.move(-1))() : window.scrollBy(0, -60)),
  o: onList(each => each.openOther()), Home: end(0), End: end(Infinity), '/': onList(each => each.focusSearch()),
  u: () => { window.scrollTo(0, 0); $('main').focus(); },
  ...Object.fromEntries([1, 2, 3, 4, 5, 6, 7].map(n => [String(n), onList(each => each.choose(n - 1))])),
});
choose();
if (other()) load();
