// The judge's items of a run. The address holds the search.
import {$, addressOfPage, addressOfRun, el, fetchJson, fileOfRun, onKeys, problem, run, visible} from './dom.js';
import {dollars, duration, pagesOfRun} from './figures.js';
import {ARMS, addressOfItem, badge, keepItems, marked} from './item.js';
import {VirtualList} from './list.js';
import {follow} from './live.js';
import {PagedRows} from './paged_rows.js';

const TYPING = 200, AGAIN = 4000;  // ms
const form = /** @type {HTMLFormElement} */ ($('search'));
const fields = form.elements;
let query = '', active = 0, size = -1;

// The form and the address.
const NAMES = ['of', 'q', 'kind', 'state', 'arm', 'grade', 'unit', 'sort'];
const params = () => new URLSearchParams(NAMES.map(name => [name, fields[name].value.trim()]).filter(([, value]) => value));
const fillForm = given => {
  for (const name of NAMES) {
    const wanted = given.get(name) ?? '';
    if (fields[name].tagName === 'SELECT' && ![...fields[name].options].some(option => option.value === wanted)) fields[name].append(el('option', {value: wanted}, wanted));
    fields[name].value = wanted;
  }
};
const offer = (select, counts) => {  // the values that the run has, with their numbers
  for (const [value, n] of Object.entries(counts)) {
    const option = [...select.options].find(each => each.value === value) ?? select.appendChild(el('option', {value}, visible(value)));
    option.dataset.words ??= option.textContent;
    option.textContent = option.dataset.words + ' (' + n.toLocaleString('en') + ')';
  }
  for (const option of [...select.options]) option.hidden = Boolean(option.value) && option.value !== 'unscored' && !(option.value in counts) && option.value !== select.value;
};

// Rows.
const rows = new PagedRows(() => fileOfRun(run, 'api/calls?' + query), (first, last) => list.redraw(first, last));
const below = row => row.state !== 'scored' && row.reason ? el('span', {class: 'reason'}, visible(row.reason))
  : row.window ? [ARMS[row.arm] ? el('span', {class: 'chip'}, ARMS[row.arm]) : null, el('span', {class: 'window', dir: 'auto'}, marked(row.window))]
  : el('span', {class: 'reason soft'}, row.reason ? visible(row.reason) : row.answer === null ? '' : 'question ' + (row.repeat + 1));
const draw = place => {
  const row = rows.at(place);
  if (!row) return el('div', {class: 'hit waiting', role: 'listitem'}, el('span', {class: 'id'}, String(place + 1)));
  return el('div', {class: 'hit' + (place === active ? ' active' : ''), role: 'listitem'},
    el('a', {href: addressOfItem(row.id), onclick: leave},
      el('span', {class: 'id'}, row.unit_id ? visible(row.unit_id) : '\u2013'), el('span', {class: 'kind'}, row.kind),
      row.explanation ? el('span', {class: 'explanation', dir: 'auto'}, visible(row.explanation)) : el('span', {class: 'explanation none'}, row.kind === 'explain' ? 'an explanation of the unit' : 'no explanation shown'),
      el('span', {class: 'below'}, below(row)),
      el('span', {class: 'ended'}, badge(row)),
      el('span', {class: 'num spent'}, row.input_tokens === null ? '' : (row.input_tokens + (row.cached_tokens ?? 0)).toLocaleString('en') + ' + ' + row.output_tokens.toLocaleString('en')),
      el('span', {class: 'num spent'}, row.cost_usd === null ? '' : dollars(row.cost_usd)),
      el('span', {class: 'num soft spent'}, row.duration_s ? duration(row.duration_s) : '')));
};
const list = new VirtualList($('list'), $('rows'), draw, (first, last) => rows.need(first, last));

// Searching, again while the run is live.
const tell = answer => {
  const filters = [...params().keys()].filter(name => !['q', 'of', 'sort'].includes(name)).length;
  $('filters').querySelector('summary').textContent = filters ? 'filters (' + filters + ')' : 'filters';
  const searched = answer.to_read && answer.read < answer.to_read ? ', ' + Math.floor(100 * answer.read / answer.to_read) + '% of the prompts read' : '';
  $('count').textContent = (answer.n === answer.of ? answer.n.toLocaleString('en') : answer.n.toLocaleString('en') + ' of ' + answer.of.toLocaleString('en')) + (fields.of.value ? ' calls' : ' items') + searched;
  $('missing').textContent = answer.missing;
  $('missing').hidden = !answer.missing;
  document.body.classList.toggle('free', !answer.has_calls);
  for (const name of ['kind', 'state', 'arm', 'grade']) offer(fields[name], answer.facets[name]);
  $('list').classList.toggle('empty', answer.n === 0 && !searched);
};
const search = async (place = 0, again = false) => {
  if (!again) {
    query = params().toString();
    history.replaceState(history.state, '', query ? '?' + query : location.pathname);
    keepItems(query);
  }
  search.controller?.abort();
  const controller = search.controller = new AbortController();
  try {
    const answer = await rows.ask(place, controller.signal);
    problem(null);
    tell(answer);
    const key = query + ' ' + answer.of + ' ' + answer.n;
    if (!again || key !== size) {
      rows.reset(answer, place);
      active = Math.min(place, Math.max(0, answer.n - 1));
      const focused = $('rows').contains(document.activeElement);
      list.reset(answer.n, again ? list.range()[0] : place ? Math.max(0, place - 2) : 0);
      if (focused) list.drawn.get(active)?.querySelector('a')?.focus({preventScroll: true});
    }
    size = key;
    if (answer.read < answer.to_read) setTimeout(() => { if (search.controller === controller) search(active, true); }, 30);
    return answer.live;
  } catch (error) {
    if (!controller.signal.aborted) { problem(error.message); $('count').textContent = ''; }
    return true;
  }
};
const typed = () => { clearTimeout(typed.timer); typed.timer = setTimeout(search, TYPING); };
form.addEventListener('input', typed);
form.addEventListener('submit', event => { event.preventDefault(); clearTimeout(typed.timer); search(); $('list').focus(); });
form.addEventListener('reset', () => setTimeout(search));

// Keys, and the way back from an item.
const select = place => {
  if (!list.n) return;
  list.drawn.get(active)?.classList.remove('active');
  active = Math.max(0, Math.min(list.n - 1, place));
  list.reveal(active);
  list.drawn.get(active)?.classList.add('active');
  list.drawn.get(active)?.querySelector('a')?.focus({preventScroll: true});
};
const leave = event => {
  active = Number(event.currentTarget.parentNode.getAttribute('aria-posinset')) - 1;
  history.replaceState({place: active}, '');
};
const focusSearch = () => { $('text').focus(); $('text').select(); };
onKeys({
  j: () => select(document.activeElement?.closest('.hit') ? active + 1 : active), ArrowDown: () => select(active + 1), k: () => select(active - 1), ArrowUp: () => select(active - 1),
  Enter: () => { const link = list.drawn.get(active)?.querySelector('a'); if (document.activeElement instanceof HTMLButtonElement || document.activeElement?.matches('a')) /** @type {HTMLElement} */ (document.activeElement).click(); else link?.click(); },
  '/': focusSearch, f: () => { $('filters').open = !$('filters').open; }, m: () => { fields.state.value = fields.state.value === 'unscored' ? '' : 'unscored'; search(); }, Home: () => select(0), End: () => select(list.n - 1), u: () => { location.href = addressOfRun(run); },
});
$('text').addEventListener('keydown', event => { if (event.key === 'Escape' || event.key === 'ArrowDown') { event.preventDefault(); select(active); } });
window.addEventListener('popstate', () => { fillForm(new URLSearchParams(location.search)); search(history.state?.place ?? 0); });

fillForm(new URLSearchParams(location.search));
$('filters').open = matchMedia('(min-width: 46rem)').matches;
$('count').textContent = 'reading the judgements';
fetchJson(fileOfRun(run, 'api/about')).then(given => $('pages').replaceChildren(...pagesOfRun(run, {index: given.index, address: addressOfPage(''), report: given.files.some(each => each.name === 'report.html')}, 'judgements'))).catch(() => {});
let first = true;
follow(() => { const place = first ? history.state?.place ?? 0 : active, again = !first; first = false; return search(place, again); }, AGAIN);
if (location.hash === '#search') focusSearch();
