// The runs of the results folder, with the workers, the night and the month.
import {$, addressOfRun, el, fetchJson, many, onKeys, problem, root, visible} from './dom.js';
import {dollars, duration, pagesOfRun, time} from './figures.js';
import {follow} from './live.js';

const AGAIN = 3000;  // ms
const NAMES = {judge: 'judge', subject: 'model', dictionary: 'dictionary'};
const fields = /** @type {HTMLFormElement} */ ($('filter')).elements;
let runs = [], before = '';

// One run.
const outcome = run => visible(run.verdict) || (run.live ? visible(run.stage) || 'planned' : 'no verdict');
const draw = run => el('li', {class: 'run ' + run.state, id: run.run_id},
  el('div', {class: 'head'}, el('h2', {}, el('a', {href: addressOfRun(run.run_id)}, visible(run.run_id))), el('span', {class: 'state'}, run.state), el('span', {class: 'soft'}, time(run.created_at))),
  el('p', {class: 'verdict', dir: 'auto'}, outcome(run)),
  run.live && run.jobs ? el('progress', {max: run.jobs, value: run.ended, 'aria-label': 'jobs that have ended'}) : null,
  el('p', {class: 'soft facts'}, Object.entries(NAMES).filter(([key]) => run[key]).map(([key, name]) => el('span', {}, name + ' ', el('b', {}, visible(run[key] + (key === 'judge' && run.baseline ? ', not an LLM' : ''))))),
    run.spent_usd === null ? null : el('span', {}, 'cost ', el('b', {}, dollars(run.spent_usd)))),
  el('p', {class: 'links'}, pagesOfRun(run.run_id, run, ''), run.index || run.live ? null : el('span', {class: 'soft'}, 'no index yet')));

// The list.
const words = run => [run.run_id, run.judge, run.subject, run.dictionary, run.state, run.verdict].join(' ').toLowerCase();
const ORDERS = {new: run => (run.live ? -1e12 : 0) - (run.created_at ?? 0), changed: run => -(run.updated_at ?? 0), cost: run => -(run.spent_usd ?? -1), name: run => run.run_id};
const show = () => {
  const asked = fields.q.value.toLowerCase().split(/\s+/).filter(Boolean), state = fields.state.value, order = ORDERS[fields.sort.value || 'new'];
  const found = runs.filter(run => asked.every(word => words(run).includes(word)) && (!state || (state === 'live' ? run.live : state === 'done' ? ['done', 'withheld'].includes(run.state) : run.state === state)));
  const key = new Map(found.map(run => [run, order(run)]));
  found.sort((a, b) => key.get(a) < key.get(b) ? -1 : key.get(a) > key.get(b) ? 1 : 0);
  const focused = document.activeElement?.closest('.run')?.id;
  $('runs').replaceChildren(...(found.length ? found.map(draw) : [el('li', {class: 'soft'}, runs.length ? 'No run has these words.' : ['No runs yet: start one with ', el('code', {}, 'autointerp run SPEC'), ' or ', el('code', {}, 'autointerp demo'), '.'])]));
  if (focused) /** @type {HTMLElement | null} */ (document.getElementById(focused)?.querySelector('h2 a'))?.focus({preventScroll: true});
  $('count').textContent = found.length === runs.length ? many(runs.length, 'run') : found.length + ' of ' + many(runs.length, 'run');
};
const filter = () => {
  const given = new URLSearchParams([...new FormData(/** @type {HTMLFormElement} */ ($('filter')))].filter(([, value]) => value).map(([name, value]) => [name, String(value)]));
  history.replaceState(null, '', given.size ? '?' + given : location.pathname);
  show();
};

// What goes on beside the runs.
const month = given => given && el('p', {}, el('b', {}, dollars(given.usd)), given.limit_usd === null ? ' spent by the runs of this month' : [' of ', dollars(given.limit_usd), ' spent this month'], el('span', {class: 'soft'}, given.month));
const workers = (list, live) => list.length ? el('details', {}, el('summary', {}, el('b', {}, many(list.length, 'worker')), ' alive'),
  el('ul', {}, list.map(each => el('li', {}, el('code', {}, visible(each.host) + ' pid ' + each.pid), el('span', {class: 'soft'}, visible(each.queues) + ', heartbeat ' + duration(each.silent_s) + ' ago')))))
  : live ? el('p', {}, 'No workers are alive: runs of the queue wait for one.') : null;
const version = each => el('li', {}, el('code', {}, visible(each.path)), el('span', {class: 'soft'},
  [each.state, each.change === null ? 'first version' : 'changed by ' + Math.round(100 * each.change) + '%', each.forecast_usd ? 'about ' + dollars(each.forecast_usd) : '', each.reason].filter(Boolean).map(visible).join(', ')),
  each.run_id ? el('a', {href: addressOfRun(each.run_id)}, visible(each.run_id)) : null);
const night = given => given && el('section', {class: 'night'}, el('h2', {}, 'Night'),
  given.problem ? el('p', {class: 'problem'}, visible(given.problem)) : null,
  given.plan ? el('p', {}, 'Starts at ' + given.plan.start, given.plan.deadline ? ', and no run is started after ' + given.plan.deadline : '', given.plan.usd === null ? '' : ', within ' + dollars(given.plan.usd),
    given.plan.order === 'change' ? '; the largest changes first.' : '; the newest files first.') : null,
  given.running ? [el('p', {}, 'The night of ' + given.running.date + ' is running: ', el('b', {}, dollars(given.running.spent_usd)), given.running.usd === null ? '' : ' of ' + dollars(given.running.usd), ' spent, ' + many(given.running.n_queued, 'run') + ' not ended.'), el('ul', {}, given.running.versions.map(version)), given.running.notes.map(note => el('p', {class: 'soft'}, visible(note)))] : null,
  given.waiting.length ? [el('p', {}, many(given.waiting.length, 'dictionary').replace('dictionarys', 'dictionaries') + ' to score next:'), el('ul', {}, given.waiting.map(version))] : null,
  given.last ? el('p', {class: 'soft'}, visible(given.last)) : null);

const load = async () => {
  try {
    const given = await fetchJson(root + 'api/runs');
    const live = given.runs.filter(run => run.live).length, text = JSON.stringify([given.runs, given.night, given.month, given.workers.map(each => [each.host, each.pid])]);
    if (text !== before) {
      runs = given.runs;
      show();
      $('beside').replaceChildren(...[month(given.month), workers(given.workers, given.runs.some(run => run.live && run.carrier === 'fleet')), night(given.night)].filter(Boolean));
      $('live').textContent = live ? live + ' live, updated every ' + AGAIN / 1000 + ' seconds.' : '';
      if (before === '' && location.hash) document.getElementById(decodeURIComponent(location.hash.slice(1)))?.scrollIntoView();
    }
    before = text;
    problem(null);
    $('runs').setAttribute('aria-busy', 'false');
    return live > 0 || Boolean(given.night?.running);
  } catch (error) { problem(error.message); return true; }
};
const step = by => {
  const links = [.../** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll('.run h2 a'))];
  const at = links.findIndex(link => link.closest('.run')?.contains(document.activeElement));
  links[Math.max(0, Math.min(links.length - 1, at + by))]?.focus();
};
onKeys({'/': () => { fields.q.focus(); fields.q.select(); }, j: () => step(1), k: () => step(-1)});
fields.q.addEventListener('keydown', event => { if (event.key === 'Escape' || event.key === 'ArrowDown') { event.preventDefault(); step(1); } });
$('filter').addEventListener('input', filter);
$('filter').addEventListener('submit', event => { event.preventDefault(); step(1); });
for (const [name, value] of new URLSearchParams(location.search)) if (fields[name]) fields[name].value = value;
follow(load, AGAIN);
