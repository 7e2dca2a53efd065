// One run: state, stages, cost, calls, judges, verdict and events, asked for again while it is live.
import {$, addressOfJudgements, addressOfPage, addressOfRuns, el, fetchJson, fileOfRun, isJudged, many, onKeys, part, problem, run, visible} from './dom.js';
import {command, dollars, moment, pagesOfRun, size, time} from './figures.js';
import {follow} from './live.js';

const AGAIN = 2000;  // ms
const CLASSES = [['done', 'done'], ['failed', 'failed'], ['leased', 'in work'], ['batched', 'in a batch'], ['waiting', 'waiting for the provider'], ['pending', 'queued'], ['later', 'later']];
const log = $('events');
let seen = 0, before = '';

// Parts of the page.
const link = (words, query) => isJudged(run) ? el('a', {href: addressOfJudgements(run, String(new URLSearchParams(query)))}, words) : el('span', {}, words);
const stage = each => el('li', {class: 'stage'},
  el('div', {class: 'what'}, el('b', {}, each.name), el('span', {class: 'soft'}, each.purpose)),
  el('div', {class: 'stack', role: 'img', 'aria-label': CLASSES.filter(([key]) => each[key]).map(([key, name]) => each[key] + ' ' + name).join(', ')}, CLASSES.filter(([key]) => each[key]).map(([key, name]) => {
    const bar = el('i', {class: key, title: many(each[key], 'job') + ' ' + name});
    bar.style.flexGrow = String(each[key]);
    return bar;
  })),
  el('p', {class: 'soft num'}, each.in_words));
const stages = given => part('Stages', '', el('ol', {class: 'stages'}, given.stages.map(stage)),
  given.errors.length ? el('div', {class: 'errors'}, el('h3', {}, 'Failed'), el('ul', {}, given.errors.map(each => el('li', {}, el('b', {class: 'num'}, each.n.toLocaleString('en')), ' ', visible(each.text))))) : null);
const unscored = given => given.unscored.length ? part('Unscored judgements', 'never counted as a grade', el('ul', {class: 'plain'}, given.unscored.map(each => el('li', {}, link([el('b', {class: 'num'}, each.n.toLocaleString('en')), ' ' + each.meaning], {kind: 'grade', state: each.outcome}))))) : null;
const money = given => {
  const {cost} = given, most = cost.budget_usd ?? cost.forecast_usd;
  return part('Cost', '', el('p', {class: 'amount'}, visible(cost.in_words)),
    most ? el('progress', {max: most, value: Math.min(most, (cost.spent_usd ?? 0)), 'aria-label': 'share of the ' + (cost.budget_usd === null ? 'forecast' : 'budget') + ' that is spent'}) : null,
    cost.forecast_usd === null ? null : el('p', {class: 'soft'}, 'The spec forecasts about ' + dollars(cost.forecast_usd) + ' if every unit is alive and every bin full.'),
    given.budgets.map(each => el('p', {class: 'soft'}, visible(each.name) + ': ' + dollars(each.spent_usd) + (each.limit_usd === null ? '' : ' of ' + dollars(each.limit_usd)))));
};
const usage = given => given.usage.length ? part('Calls', given.calls, el('div', {class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'calls by kind'}, el('table', {},
  el('thead', {}, el('tr', {}, ['kind', 'calls', 'input', 'from cache', 'output', 'cost'].map(name => el('th', {scope: 'col'}, name)))),
  el('tbody', {}, given.usage.map(each => el('tr', {}, el('th', {scope: 'row'}, link(visible(each.kind), {of: 'calls', kind: each.kind})),
    [each.calls, each.input_tokens + each.cache_write_tokens + each.cache_read_tokens, each.cache_read_tokens, each.output_tokens].map(n => el('td', {class: 'num'}, n.toLocaleString('en'))), el('td', {class: 'num'}, dollars(each.cost_usd)))))))) :
  given.judges.length && given.judges.every(each => each.is_llm === false) ? part('Calls', '', el('p', {class: 'soft'}, 'None: the judge is a function on this machine, not an LLM.')) : null;
const judges = given => part('Judge', '', el('ul', {class: 'plain'}, given.judges.map(each => el('li', {}, el('span', {class: 'soft'}, each.role + ' '), el('b', {}, visible(each.model)), each.is_llm !== false ? '' : el('span', {class: 'not-llm'}, 'not an LLM')))),
  given.verdict ? el('p', {class: 'trust ' + given.verdict.trust.verdict}, el('b', {}, given.verdict.trust.label), visible(given.verdict.trust.sentence)) : null);
const verdict = given => given.verdict ? el('div', {class: 'verdict'}, given.verdict.lead ? el('p', {}, visible(given.verdict.lead)) : null, el('p', {}, visible(given.verdict.sentence))) : null;
const inputs = given => part('Inputs', '', el('dl', {class: 'inputs'}, [['model', given.subject], ['dictionary', given.dictionary], ['began', time(given.created_at)], ['changed', time(given.updated_at)], ['carried by', given.carrier === 'fleet' ? 'workers' + (given.workers === null ? '' : ', ' + given.workers + ' alive') : given.carrier === 'local' ? 'one process' : ''], ['night', given.night]]
  .filter(([, value]) => value).map(([name, value]) => el('div', {}, el('dt', {}, name), el('dd', {}, visible(value))))));
const files = given => given.files.length === 0 ? null : part('Files', '', el('ul', {class: 'plain'}, given.files.map(each => el('li', {}, el('a', {href: fileOfRun(run, encodeURIComponent(each.name))}, visible(each.name)), ' ', el('span', {class: 'soft num'}, size(each.bytes))))));
const commands = given => given.commands.length ? part('Commands', '', el('ul', {class: 'plain'}, given.commands.map(each => el('li', {}, el('p', {class: 'soft'}, each.purpose), command(each.command))))) : null;

const draw = given => [
  el('div', {class: 'top'}, el('div', {class: 'head'}, el('h1', {}, visible(given.run_id)), el('span', {class: 'state'}, given.state)),
    given.state === 'done' && !given.reason ? null : el('p', {class: 'status'}, 'The run ' + given.in_words + (given.reason ? ': ' + visible(given.reason) : '') + '.')),
  verdict(given),
  given.missing ? el('p', {class: 'problem'}, given.missing) : null,
  given.unpublished ? el('p', {class: 'soft'}, given.unpublished) : null,
  el('div', {class: 'columns'}, el('div', {}, given.stages.length ? stages(given) : null, unscored(given), usage(given), log),
    el('aside', {'aria-label': 'cost, judge and files'}, [money(given), judges(given), commands(given), inputs(given), files(given)])),
];
const event = each => el('li', {class: each.level}, el('time', {datetime: new Date(1000 * each.at).toISOString()}, moment(each.at)), el('span', {}, visible(each.text)), each.worker ? el('code', {}, visible(each.worker)) : null);

// The page.
const load = async () => {
  try {
    const given = await fetchJson(fileOfRun(run, 'api/about'));
    const events = await fetchJson(fileOfRun(run, 'api/events?after=' + seen));
    const text = JSON.stringify(given);
    if (text !== before) {
      const focused = document.activeElement?.getAttribute('href');
      $('run').className = given.state;
      $('run').replaceChildren(...draw(given).filter(Boolean));
      if (focused) /** @type {HTMLElement | null} */ ($('run').querySelector('[href="' + CSS.escape(focused) + '"]'))?.focus({preventScroll: true});
      $('pages').replaceChildren(...pagesOfRun(given.run_id, {index: given.index, address: addressOfPage(''), report: given.files.some(each => each.name === 'report.html')}, 'overview'));
    }
    before = text;
    if (events.length) { seen = events.at(-1).event_id; /** @type {HTMLElement} */ (log.querySelector('ol')).append(...events.map(event)); log.hidden = false; }
    $('live').textContent = given.live ? 'live' : '';
    problem(null);
    $('run').setAttribute('aria-busy', 'false');
    return given.live;
  } catch (error) { problem(error.message); $('run').setAttribute('aria-busy', 'false'); return true; }
};
const judged = hash => { if (isJudged(run)) location.href = addressOfJudgements(run) + hash; };
onKeys({c: () => judged(''), u: () => { location.href = addressOfRuns(run); }, '/': () => judged('#search')});
follow(load, AGAIN);
