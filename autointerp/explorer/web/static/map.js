// The map: features as points, the search that highlights some, and the choice of some. The address holds the search, the colour and a unit.
import {$, addressOf, addressOfSearch, base, el, fetchJson, grade, keepSearch, many, onKeys, problem, sendJson, unexplained, visible} from './dom.js';
import {coloured, onScheme, rgb} from './colours.js';
import {MapNames} from './map_names.js';
import {Nearness, ranges} from './nearness.js';
import {CHOSEN, DIM, FOUND, PLAIN, fit, plotOf, widthOf} from './plot.js';
import {View} from './view.js';

const TYPING = 150, HOVERING = 40, REACH = 16, CLOSE = 6;  // ms; pixels from a point; zoom of one unit
const LEAST = 10, MOST = 100, SHARE = 20;  // units that a search by meaning highlights: one in so many
const LISTED = 20, LONGEST_ROWS = 8_000;  // chosen units in the list; characters of rows in an address, as in search/query.py
const AT_ONCE = 3_000;  // units in a request that makes a list longer
const ROOM = 72;  // pixels below the card of a unit, where buttons are
const OWN = ['colour', 'unit'];  // of the address, beside the search
const form = /** @type {HTMLFormElement} */ ($('search')), fields = form.elements;
const given = new URLSearchParams(location.search);
let map = null, at = null, plot = null, view = null, near = null, names = null, painted = null;
let found = null, chosen = [], hovered = -1, marked = -1, path = [], drawing = false, answer = null;
/** @type {Map<number, Promise<any>>} */
const cards = new Map();

const rowOf = point => Array.isArray(map.rows) ? map.rows[point] : point;
const pointOf = row => Array.isArray(map.rows) ? map.rows.indexOf(row) : row < map.rows ? row : -1;
const card = row => {
  const known = cards.get(row) ?? fetchJson(base + 'api/rows?limit=1&rows=' + row).then(answer => answer.rows[0]);
  known.catch(() => cards.delete(row));
  return cards.set(row, known) && known;
};
const says = unit => unit.explanation === null ? el('span', {class: 'explanation none'}, unexplained(unit)) : el('span', {class: 'explanation', dir: 'auto'}, visible(unit.explanation));

// Drawing.
const ink = () => getComputedStyle(document.documentElement).getPropertyValue('--ink').trim();
const draw = () => {
  if (drawing || !plot) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    plot.draw(view, rgb(ink()));
    names.draw(view);
    drawOver();
  });
};
const ring = (context, point, radius) => {
  const [x, y] = view.toScreen(at[2 * point], at[2 * point + 1]);
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.stroke();
};
const drawOver = () => {  // what lies over the points: the named one, the marked one, the lasso, the middle for keys
  const canvas = $('over'), ratio = fit(canvas, view), context = canvas.getContext('2d'), width = widthOf(at.length / 2, view.zoom, Math.min(view.width, view.height));
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, view.width, view.height);
  context.strokeStyle = ink();
  context.lineWidth = 2;
  if (hovered >= 0) ring(context, hovered, width / 2 + 3.5);
  if (marked >= 0) { ring(context, marked, width / 2 + 4); context.lineWidth = 1; ring(context, marked, width / 2 + 9); }
  context.lineWidth = 1;
  if (byKeys()) for (const [x, y] of [[1, 0], [0, 1]]) {
    for (const side of [-1, 1]) {
      context.beginPath();
      context.moveTo(view.width / 2 + side * x * 5, view.height / 2 + side * y * 5);
      context.lineTo(view.width / 2 + side * x * 14, view.height / 2 + side * y * 14);
      context.stroke();
    }
  }
  if (path.length > 1) {
    context.lineWidth = 1.5;
    context.setLineDash([5, 4]);
    context.beginPath();
    path.forEach(([x, y], i) => i ? context.lineTo(x, y) : context.moveTo(x, y));
    context.closePath();
    context.stroke();
    context.setLineDash([]);
  }
};
const paint = () => {
  if (!map || !answer) return;
  painted = coloured(answer.column, answer, map);
  const states = new Uint8Array(at.length / 2).fill(found ? DIM : PLAIN), colours = painted.colours;
  if (found) {
    for (const point of found) states[point] = FOUND;
    for (let i = 0; i < states.length; i++) if (states[i] === DIM) colours[4 * i + 3] = 38; else colours[4 * i + 3] = 255;
  }
  for (const point of chosen) states[point] = CHOSEN;
  plot.paint(colours, states);
  $('legend').replaceChildren(...painted.legend.filter(Boolean));
  draw();
};

// The point that is named.
const byKeys = () => $('map').matches(':focus-visible') && !view.pointers.size;
const pointAt = place => { const [x, y] = view.toMap(place); return near.nearest(x, y, REACH / view.scale, point => found?.has(point) ? 4 : 1); };
const name = point => {
  if (point === hovered) return;
  hovered = point;
  $('map').style.cursor = view.lasso ? 'crosshair' : point < 0 ? 'grab' : 'pointer';
  draw();
  clearTimeout(name.timer);
  if (point < 0) { $('tip').hidden = true; return; }
  name.timer = setTimeout(async () => {
    try {
      const unit = await card(rowOf(point));
      if (point === hovered) tip(point, unit);
    } catch (error) { problem(error.message); }
  }, HOVERING);
};
const tip = (point, unit) => {
  const cluster = map.clusters.find(each => each.cluster === map.cluster[point]), value = answer.values?.[point];
  const {column} = answer, said = value === undefined || value === null || column === 'label' || column === 'grade' ? null : column + ' ' + Number(value.toPrecision(3));
  $('tip').replaceChildren(el('span', {class: 'id'}, unit.unit_id, unit.grade !== null && grade(unit.grade), said && el('span', {}, said)), says(unit), cluster?.name ? el('span', {class: 'soft', dir: 'auto'}, visible(cluster.name)) : '');
  $('tip').hidden = false;
  place(point);
};
const place = point => {
  const [x, y] = view.toScreen(at[2 * point], at[2 * point + 1]), box = $('tip');
  const left = Math.max(8, Math.min(view.width - box.offsetWidth - 8, x - box.offsetWidth / 2)), below = y + box.offsetHeight + ROOM < view.height;
  box.style.transform = 'translate(' + Math.round(left) + 'px,' + Math.round(below ? y + 16 : Math.max(8, y - box.offsetHeight - 16)) + 'px)';
};
const nameMiddle = () => name(byKeys() ? near.nearest(view.x, view.y, 60 / view.scale) : -1);
const open = async point => { if (point >= 0) { try { location.href = addressOf((await card(rowOf(point))).unit_id); } catch (error) { problem(error.message); } } };

// The choice.
const choose = points => {
  chosen = points;
  paint();
  $('chosen').hidden = !points.length;
  if (points.length) showChosen();
};
const showChosen = async () => {
  const of = chosen, rows = of.map(rowOf).sort((a, b) => a - b), written = ranges(rows);
  $('chosen-n').textContent = many(of.length, 'feature') + ' chosen';
  $('chosen-does').replaceChildren(...actions(rows, written));
  const first = ranges(rows.slice(0, LISTED));
  try {
    const answer = await fetchJson(base + 'api/rows?limit=' + LISTED + '&rows=' + first);
    if (of !== chosen) return;
    $('chosen-units').replaceChildren(...answer.rows.map(unit => el('li', {}, el('a', {href: addressOf(unit.unit_id)}, unit.unit_id), says(unit))),
      of.length > LISTED ? el('li', {class: 'soft'}, 'and ' + many(of.length - LISTED, 'other')) : '');
  } catch (error) { problem(error.message); }
};
/** Keep the chosen units as a list under a name. @param {string} name @param {number[]} rows */
const keepAsList = async (name, rows) => {
  const ids = rows.map(row => 'feature-' + row);
  const list = await sendJson(base + 'api/lists', {name, unit_ids: ids.slice(0, AT_ONCE)});
  for (let from = AT_ONCE; from < ids.length; from += AT_ONCE) await sendJson(base + 'api/lists/' + list.list_id, {add: ids.slice(from, from + AT_ONCE)}, undefined, 'PUT');
  return list;
};
const keeping = rows => {
  const name = el('input', {type: 'text', name: 'list', maxlength: 80, required: true, autocomplete: 'off', placeholder: 'name of a new list', 'aria-label': 'name of a new list'});
  return el('form', {class: 'keep', onsubmit: async event => {
    event.preventDefault();
    try {
      const list = await keepAsList(name.value.trim(), rows);
      event.target.replaceWith(el('span', {class: 'kept'}, 'kept as ', el('a', {href: addressOfSearch('list=' + list.list_id), dir: 'auto'}, visible(list.name))));
    } catch (error) { problem(error.message); }
  }}, name, el('button', {type: 'submit'}, 'keep'));
};
/** What can be done with the chosen rows. @param {number[]} rows @param {string} written */
const actions = (rows, written) => [
  written.length <= LONGEST_ROWS ? el('a', {href: addressOfSearch('rows=' + written)}, 'show in the search') : el('span', {class: 'soft'}, 'too many to be shown in the search'),
  el('button', {type: 'button', class: 'quiet', onclick: () => choose([])}, 'clear ', el('kbd', {}, 'Esc')),
  $('atlas').dataset.own === 'write' ? keeping(rows) : null,
].filter(Boolean);
const inView = () => {
  const [left, top] = view.toMap([0, 0]), [right, bottom] = view.toMap([view.width, view.height]);
  return near.within(left, bottom, right, top);
};
const lasso = on => { view.lasso = on; $('lasso').setAttribute('aria-pressed', String(on)); $('map').style.cursor = on ? 'crosshair' : 'grab'; };

// The search.
const params = () => {
  const kept = new URLSearchParams([...given].filter(([key]) => !OWN.includes(key) && key !== 'q' && key !== 'meaning'));
  const text = fields.text.value.trim();
  if (text) kept.set(fields.by.value, text);
  return kept;
};
const writeAddress = () => {
  const kept = params();
  for (const [key, value] of [['colour', fields.colour.value], ['unit', given.get('unit')]]) if (value && value !== 'cluster') kept.set(key, value);
  history.replaceState(null, '', kept.toString() ? '?' + kept : location.pathname);
};
const search = async () => {
  const written = params().toString();
  writeAddress();
  keepSearch(written);
  describe(params());
  search.controller?.abort();
  const controller = search.controller = new AbortController();
  try {
    const filters = [...params().keys()].filter(key => key !== 'sort');
    if (filters.length) {
      const rows = (await fetchJson(base + 'api/found?' + written, controller.signal)).rows;
      const best = filters.includes('meaning') ? rows.slice(0, Math.max(LEAST, Math.min(MOST, Math.round(rows.length / SHARE)))) : rows;
      found = new Set(best.map(pointOf).filter(point => point >= 0));
      $('count').textContent = filters.includes('meaning') && best.length < rows.length ? 'the ' + best.length + ' nearest in meaning' : found.size.toLocaleString('en') + ' of ' + (at.length / 2).toLocaleString('en');
    } else { found = null; $('count').textContent = many(at.length / 2, 'feature'); }
    $('take-found').disabled = !found?.size;
    problem(null);
    paint();
  } catch (error) { if (!controller.signal.aborted) { problem(error.message); $('count').textContent = ''; } }
};
const describe = kept => {
  fields.text.placeholder = fields.by.value === 'q' ? 'words to highlight' : 'a description, such as: names of French cities';
  $('filters').replaceChildren(...[...kept].filter(([key]) => !['q', 'meaning', 'sort'].includes(key)).map(([key, value]) => el('button', {type: 'button', title: 'remove this filter', onclick: () => { given.delete(key); search(); }},
    key === 'rows' ? 'chosen units' : key + ' ' + visible(value), el('span', {'aria-hidden': 'true'}, ' \u00d7'))));
};
const recolour = async () => {
  const column = fields.colour.value;
  try {
    const values = column === 'cluster' ? {} : await fetchJson(base + 'api/map/values?column=' + column);
    if (column !== fields.colour.value) return;
    answer = {...values, column};
    paint();
  } catch (error) { problem(error.message); }
};

// Clusters as a list, which says in words what the map shows.
const showClusters = () => {
  const byCluster = Map.groupBy ? Map.groupBy([...map.cluster.keys()], point => map.cluster[point]) : map.cluster.reduce((all, number, point) => all.set(number, [...all.get(number) ?? [], point]), new Map());
  const look = cluster => { const points = byCluster.get(cluster.cluster) ?? []; zoomTo(points); choose(points); };
  const item = cluster => el('li', {}, el('button', {type: 'button', class: 'quiet', onclick: () => look(cluster)}, el('span', {dir: 'auto'}, cluster.name ? visible(cluster.name) : 'cluster ' + cluster.cluster)),
    el('span', {class: 'num'}, cluster.size.toLocaleString('en')));
  const ordered = map.clusters.slice().sort((a, b) => b.size - a.size), unnamed = ordered.filter(each => !each.name);
  $('clusters').replaceChildren(...ordered.filter(each => each.name).map(item));
  $('clusters-n').textContent = String(ordered.length);
  $('unnamed').hidden = !unnamed.length;
  $('unnamed').querySelector('summary').textContent = unnamed.length + ' whose features have no meaning in common';
  $('unnamed').querySelector('ol').replaceChildren(...unnamed.map(item));
};
const zoomTo = points => {
  if (!points.length) return;
  const xs = points.map(point => at[2 * point]), ys = points.map(point => at[2 * point + 1]);
  const [left, right, bottom, top] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  view.show((left + right) / 2, (bottom + top) / 2, 0.7 / Math.max(right - left, top - bottom, 0.02));
};

// The page.
const start = async () => {
  map = await fetchJson(base + 'api/map');
  if (map.why_none) throw new Error(map.why_none);
  at = new Float32Array(2 * map.x.length);
  for (let i = 0; i < map.x.length; i++) { at[2 * i] = map.x[i] / map.side; at[2 * i + 1] = map.y[i] / map.side; }
  for (const cluster of map.clusters) { cluster.x /= map.side; cluster.y /= map.side; }
  const middle = [0, 1].map(k => at.reduce((most, value, i) => i % 2 === k && value > most ? value : most, 0) / 2);
  for (let i = 0; i < at.length; i++) at[i] += 0.5 - middle[i % 2];
  for (const cluster of map.clusters) { cluster.x += 0.5 - middle[0]; cluster.y += 0.5 - middle[1]; }
  near = new Nearness(at);
  names = new MapNames($('names'), map.clusters);
  const drawn = plotOf($('points'), at);
  $('plain').hidden = drawn.webgl;
  const most = [0, 1].map(k => at.reduce((far, value, i) => i % 2 === k ? Math.max(far, Math.abs(value - 0.5)) : far, 0));
  view = new View($('map'), most.map(far => Math.max(0.02, 2 * far)), {
    changed: () => { draw(); if (view && byKeys()) nameMiddle(); else if (hovered >= 0) { $('tip').hidden = true; hovered = -1; } },
    hovered: place => name(place && !view.lasso ? pointAt(place) : -1),
    clicked: place => { const point = pointAt(place); if (matchMedia('(hover: none)').matches && point !== hovered) name(point); else open(point); },
    drawn: (line, done) => {
      path = done ? [] : line;
      if (done && line.length > 2) { choose(near.inside(line.map(each => view.toMap(each)))); lasso(false); }
      draw();
    },
  });
  plot = drawn.plot;
  showClusters();
  await Promise.all([recolour(), search()]);
  if (given.get('unit')) await mark(given.get('unit')).catch(error => problem(error.message));
  $('atlas').setAttribute('aria-busy', 'false');
};
const mark = async id => {
  const unit = await fetchJson(base + 'api/units/' + encodeURIComponent(id));
  marked = pointOf(unit.row);
  if (marked < 0) { problem('The map shows features only, and ' + visible(id) + ' is a neuron.'); return; }
  view.show(at[2 * marked], at[2 * marked + 1], CLOSE);
  name(marked);
};
const typed = () => { clearTimeout(typed.timer); typed.timer = setTimeout(search, TYPING); };
const when = act => () => { if (plot) act(); };

form.addEventListener('input', () => { if (plot) typed(); });
$('colour').addEventListener('input', when(() => { writeAddress(); recolour(); }));  // it stands outside the form
form.addEventListener('submit', event => { event.preventDefault(); clearTimeout(typed.timer); when(search)(); $('map').focus(); });
fields.by.value = given.has('meaning') ? 'meaning' : 'q';
fields.text.value = given.get(fields.by.value) ?? '';
if ([...fields.colour.options].some(option => option.value === given.get('colour'))) fields.colour.value = given.get('colour');
const tools = {
  'd': ['lasso', () => lasso(!view.lasso)], 'i': ['take-view', () => choose(inView())], 'h': ['take-found', () => choose([...found ?? []].sort((a, b) => a - b))],
  '+': ['nearer', () => view.zoomBy(1.6)], '-': ['further', () => view.zoomBy(1 / 1.6)], '0': ['whole', () => view.show()],
};
for (const [id, act] of Object.values(tools)) $(id).addEventListener('click', when(act));
const onMap = act => () => { if (plot && (document.activeElement === $('map') || document.activeElement === document.body)) act(); };
onKeys({
  ...Object.fromEntries(Object.entries(tools).map(([key, [, act]]) => [key, when(act)])), '=': when(tools['+'][1]),
  ArrowLeft: onMap(() => view.step(-1, 0)), ArrowRight: onMap(() => view.step(1, 0)), ArrowUp: onMap(() => view.step(0, -1)), ArrowDown: onMap(() => view.step(0, 1)),
  Enter: () => { if (document.activeElement === $('map')) open(hovered); else /** @type {HTMLElement} */ (document.activeElement)?.click?.(); },
  Escape: when(() => { if (view.lasso) lasso(false); else choose([]); }), '/': () => { $('text').focus(); $('text').select(); },
});
$('map').addEventListener('focus', when(nameMiddle));
$('map').addEventListener('blur', when(() => name(-1)));
$('text').addEventListener('keydown', event => { if (event.key === 'Escape') { event.preventDefault(); $('map').focus(); } });
onScheme(paint);
start().catch(error => { $('atlas').hidden = true; problem(error.message); $('count').textContent = ''; });
