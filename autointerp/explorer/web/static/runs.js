// The runs of the results folder, asked for again while one of them is live.
import {$, addressOfSearch, el, fileOfRun, fetchJson, onKeys, problem, root, visible} from './dom.js';

const AGAIN = 3000;  // ms
const time = seconds => seconds ? new Date(1000 * seconds).toLocaleString(undefined, {dateStyle: 'medium', timeStyle: 'short'}) : '';
const cost = usd => usd === null ? '' : usd === 0 || usd >= 1 ? '$' + usd.toFixed(2) : '$' + usd.toFixed(4);
const names = {judge: 'judge', subject: 'model', dictionary: 'dictionary'};
const draw = run => el('li', {class: 'run ' + run.state, id: run.run_id},
  el('div', {class: 'head'}, el('h2', {}, visible(run.run_id)), el('span', {class: 'state'}, run.state), el('span', {class: 'soft'}, time(run.created_at))),
  el('p', {class: 'verdict'}, visible(run.verdict) || (run.live ? visible(run.stage) || 'planned' : 'no verdict')),
  run.live && run.jobs ? el('progress', {max: run.jobs, value: run.ended, 'aria-label': 'jobs that have ended'}) : null,
  el('p', {class: 'soft facts'}, Object.entries(names).filter(([key]) => run[key]).map(([key, name]) => el('span', {}, name + ' ', el('b', {}, visible(run[key])))), cost(run.spent_usd) && el('span', {}, 'cost ', el('b', {}, cost(run.spent_usd)))),
  el('p', {class: 'links'},
    run.index ? el('a', {href: run.address ?? fileOfRun(run.run_id, '')}, 'explore') : el('span', {class: 'soft'}, 'no index yet: ', el('code', {}, 'autointerp index ' + visible(run.run_id))),
    run.report ? el('a', {href: fileOfRun(run.run_id, 'report.html')}, 'report') : null));
const refresh = async () => {
  try {
    const runs = await fetchJson(root + 'api/runs');
    const text = JSON.stringify(runs);
    if (text !== refresh.before) {
      $('runs').replaceChildren(...(runs.length ? runs.map(draw) : [el('li', {}, 'No runs yet: start one with ', el('code', {}, 'autointerp run SPEC'), ' or ', el('code', {}, 'autointerp demo'), '.')]));
      const live = runs.filter(run => run.live).length;
      $('live').textContent = live ? live + ' live: updated every ' + AGAIN / 1000 + ' seconds.' : '';
      if (refresh.before === undefined && location.hash) document.getElementById(decodeURIComponent(location.hash.slice(1)))?.scrollIntoView();
    }
    refresh.before = text;
    problem(null);
    $('runs').setAttribute('aria-busy', 'false');
    if (runs.some(run => run.live)) setTimeout(refresh, AGAIN);
  } catch (error) { problem(error.message); setTimeout(refresh, AGAIN); }
};
onKeys({'/': () => { location.href = addressOfSearch() + '#search'; }});
refresh();
