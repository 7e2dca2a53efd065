// The list of units. The address holds the search.
import {$, addressOf, base, bars, el, fetchJson, grade, keepSearch, onKeys, problem, rate, short, unexplained, visible} from './dom.js';
import {heat} from './heat.js';
import {VirtualList} from './list.js';
import {PagedRows} from './paged_rows.js';

const TYPING = 150, RESTING = 60, SLOW = 300;  // ms
const RANGES = ['density', 'maximum', 'grade', 'distinction'], CHOICES = ['kind', 'explained', 'list', 'noted', 'sort', 'rows'];
const WAYS = {q: 'words in explanations and tokens', meaning: 'a description, such as: names of French cities', fires: 'a text on which units fire'};
const ORDERS = {q: '', meaning: ', nearest first', fires: ', strongest first'};
const form = /** @type {HTMLFormElement} */ ($('search'));
const fields = form.elements;
/** @type {Map<number, any>} */
const strongest = new Map();
let query = '', active = 0;

// The form and the address.
const params = () => {
  const given = new URLSearchParams();
  const text = fields.text.value.trim();
  if (text) given.set(fields.by.value, text);
  if (text && fields.by.value === 'fires' && fields.without?.value.trim()) given.set('without', fields.without.value.trim());
  for (const name of CHOICES) if (fields[name]?.value) given.set(name, fields[name].value);
  for (const name of RANGES) {
    const low = fields[name + '-low'].value.trim(), high = fields[name + '-high'].value.trim();
    if (low || high) given.set(name, low + '..' + high);
  }
  return given;
};
const fillForm = given => {
  const by = Object.keys(WAYS).find(way => given.has(way)) ?? 'q';
  fields.without.value = given.get('without') ?? '';
  fields.text.value = given.get(by) ?? '';
  fields.by.value = by;
  for (const name of CHOICES) if (fields[name]) fields[name].value = given.get(name) ?? '';
  $('among').hidden = !fields.rows.value;
  for (const name of RANGES) [fields[name + '-low'].value, fields[name + '-high'].value] = (given.get(name) ?? '..').split('..');
  if ([...given.keys()].some(isFilter)) $('filters').open = matchMedia('(min-width: 46rem)').matches;
};
const isFilter = name => !(name in WAYS || ['without', 'sort', 'rows'].includes(name));
const describe = () => {
  fields.text.placeholder = WAYS[fields.by.value];
  $('without').hidden = fields.by.value !== 'fires';
  const filters = [...params().keys()].filter(isFilter).length;
  $('filters').querySelector('summary').textContent = filters ? 'filters (' + filters + ')' : 'filters';
  for (const head of document.querySelectorAll('[data-sort]')) {
    const column = head.dataset.sort, sort = fields.sort.value;
    head.textContent = column + (sort === '-' + column ? ' \u2193' : sort === column ? ' \u2191' : '');
  }
};

// Rows.
const rows = new PagedRows(() => base + 'api/rows?' + query, (first, last) => list.redraw(first, last));
const draw = place => {
  const row = rows.at(place);
  if (!row) return el('div', {class: 'hit waiting', role: 'listitem'}, el('span', {class: 'id'}, String(place + 1)));
  const says = row.explanation === null
    ? el('span', {class: 'explanation none'}, unexplained(row))
    : el('span', {class: 'explanation', dir: 'auto'}, marked(row.explanation));
  return el('div', {class: 'hit ' + row.kind + (place === active ? ' active' : ''), role: 'listitem'},
    el('a', {href: addressOf(row.unit_id), onclick: leave},
      el('span', {class: 'id'}, el('i', {}), row.unit_id),
      says,
      el('span', {class: 'window', dir: 'auto'}, snippet(row)),
      bars(row.spark, 100, 'spark ' + row.kind),
      el('span', {class: 'num density', title: rate(row.density)}, short(row.density)),
      el('span', {class: 'num maximum'}, short(row.maximum)),
      row.grade === null && row.probability !== null ? el('span', {class: 'grade none', title: 'probability of a propagated explanation'}, Math.round(100 * row.probability) + '%') : grade(row.grade)));
};
const snippet = row => {
  const example = strongest.get(row.row);
  const room = Math.max(3, Math.round($('list').clientWidth / 110));  // tokens before the mark, so that the mark is on the screen
  return example ? heat(example, row.maximum, Math.max(0, example.mark - room)) : [];
};
const marked = text => {  // the words searched for, marked
  const words = fields.by.value === 'q' ? fields.text.value.toLowerCase().match(/[\p{L}\p{N}\p{M}_]+/gu) ?? [] : [];
  if (!words.length) return visible(text);
  const parts = visible(text).split(/([\p{L}\p{N}\p{M}_]+)/u);
  return parts.map((part, i) => i % 2 && words.some(word => part.toLowerCase().startsWith(word)) ? el('b', {}, part) : part);
};
const need = (first, last) => {
  rows.need(first, last);
  clearTimeout(need.timer);
  need.timer = setTimeout(() => illustrate(first, last), RESTING);
};
const illustrate = async (first, last) => {  // the strongest examples, which come from the disk, after the rows
  const missing = [];
  for (let place = first; place < last; place++) { const row = rows.at(place); if (row && !strongest.has(row.row)) missing.push(row.row); }
  if (!missing.length) return;
  try {
    const examples = await fetchJson(base + 'api/strongest?rows=' + missing.join(','));
    for (const [row, example] of Object.entries(examples)) strongest.set(Number(row), example);
    for (const [place, drawn] of list.drawn) {  // in place: a row that is being clicked must stay
      const row = rows.at(place);
      if (row && row.row in examples) drawn.querySelector('.window')?.replaceChildren(...snippet(row));
    }
  } catch (error) { problem(error.message); }
};
const list = new VirtualList($('list'), $('rows'), draw, need);

// Searching.
const search = async (place = 0) => {
  describe();
  query = params().toString();
  history.replaceState(history.state, '', query ? '?' + query : location.pathname);
  keepSearch(query);
  search.controller?.abort();
  clearTimeout(search.slow);
  const controller = search.controller = new AbortController();
  try {
    if (fields.by.value === 'fires' && fields.text.value.trim()) search.slow = setTimeout(() => { $('count').textContent = 'asking the model'; }, SLOW);
    const answer = await rows.ask(place, controller.signal);
    rows.reset(answer, place);
    active = Math.min(place, Math.max(0, answer.n - 1));
    problem(null);
    $('count').textContent = (answer.n === answer.of ? answer.n.toLocaleString('en') + ' units' : answer.n.toLocaleString('en') + ' of ' + answer.of.toLocaleString('en')) + (answer.n > 1 && !fields.sort.value && fields.text.value.trim() ? ORDERS[fields.by.value] : '');
    $('list').classList.toggle('empty', answer.n === 0);
    list.reset(answer.n, place ? Math.max(0, place - 2) : 0);
  } catch (error) {
    if (!controller.signal.aborted) { problem(error.message); $('count').textContent = ''; }
  } finally { if (search.controller === controller) clearTimeout(search.slow); }
};
const typed = () => { clearTimeout(typed.timer); describe(); typed.timer = setTimeout(search, TYPING); };
form.addEventListener('input', typed);
form.addEventListener('submit', event => { event.preventDefault(); clearTimeout(typed.timer); search(); $('list').focus(); });
const whole = () => { fields.rows.value = ''; $('among').hidden = true; search(); };  // a reset keeps hidden fields
$('among').addEventListener('click', whole);
form.addEventListener('reset', () => setTimeout(whole));
for (const head of document.querySelectorAll('[data-sort]')) head.addEventListener('click', () => {
  const column = head.dataset.sort;
  fields.sort.value = fields.sort.value === '-' + column ? column : fields.sort.value === column ? '' : '-' + column;
  search();
});

// Keys, and the way back from a unit.
const select = place => {
  if (!list.n) return;
  list.drawn.get(active)?.classList.remove('active');
  active = Math.max(0, Math.min(list.n - 1, place));
  list.reveal(active);
  list.drawn.get(active)?.classList.add('active');
  list.drawn.get(active)?.querySelector('a')?.focus({preventScroll: true});
};
const leave = event => {
  const place = Number(event.currentTarget.parentNode.getAttribute('aria-posinset')) - 1;
  active = place;
  history.replaceState({place}, '');
};
const focusSearch = () => { $('text').focus(); $('text').select(); };
onKeys({
  j: () => select(document.activeElement?.closest('.hit') ? active + 1 : active), ArrowDown: () => select(active + 1), k: () => select(active - 1), ArrowUp: () => select(active - 1),
  Enter: () => { const link = list.drawn.get(active)?.querySelector('a'); if (document.activeElement instanceof HTMLButtonElement || document.activeElement?.matches('a, summary')) /** @type {HTMLElement} */ (document.activeElement).click(); else link?.click(); },
  '/': focusSearch, f: () => { $('filters').open = !$('filters').open; }, Home: () => select(0), End: () => select(list.n - 1),
});
$('text').addEventListener('keydown', event => { if (event.key === 'Escape' || event.key === 'ArrowDown') { event.preventDefault(); select(active); } });
window.addEventListener('popstate', () => { fillForm(new URLSearchParams(location.search)); search(history.state?.place ?? 0); });

const addLists = async () => {  // the choices of the filter, before the form is filled from the address
  if (!fields.list) return;
  try {
    const {lists} = await fetchJson(base + 'api/lists');
    fields.list.append(...lists.map(list => el('option', {value: list.list_id}, visible(list.name))));
  } catch { /* a published page has no lists */ }
  const wanted = new URLSearchParams(location.search).get('list');
  if (wanted && ![...fields.list.options].some(option => option.value === wanted)) fields.list.append(el('option', {value: wanted}, 'list ' + visible(wanted)));
};
const withLists = addLists();
if (new URLSearchParams(location.search).has('list')) await withLists;
fillForm(new URLSearchParams(location.search));
$('count').textContent = 'reading the index';
search(history.state?.place ?? 0);
if (location.hash === '#search') focusSearch();
