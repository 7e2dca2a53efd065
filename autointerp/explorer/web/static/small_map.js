// Where a unit lies on the map: a small picture in its page, which leads to the map.
import {addressOfPage, base, el, fetchJson, visible} from './dom.js';
import {onScheme, rgb} from './colours.js';

const WIDE = 400, HIGH = 240, EDGE = 10;  // pixels
/** @type {Promise<any> | null} */
let fetched = null;
let redraw = () => {};
onScheme(() => redraw());
/** The map, once for a page; null for an index without one. */
const fetchMap = () => fetched ??= fetchJson(base + 'api/map').then(map => map.why_none ? null : map).catch(() => null);

const colour = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const draw = (canvas, map, point) => {
  const context = canvas.getContext('2d'), ratio = 2;
  const most = values => values.reduce((most, value) => Math.max(most, value), 1);
  const scale = Math.min((WIDE - 2 * EDGE) / most(map.x), (HIGH - 2 * EDGE) / most(map.y));
  const left = (WIDE - scale * most(map.x)) / 2, low = (HIGH + scale * most(map.y)) / 2;
  const dot = (i, radius) => { context.beginPath(); context.arc(left + scale * map.x[i], low - scale * map.y[i], radius, 0, 2 * Math.PI); };
  const side = Math.max(0.7, Math.min(2, 70 / Math.sqrt(map.x.length)));
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, WIDE, HIGH);
  for (const [name, alpha, own] of [['--faint', 0.4, false], ['--feature', 0.75, true]]) {
    const [r, g, b] = rgb(colour(name));
    context.fillStyle = 'rgba(' + r + ',' + g + ',' + b + ',' + alpha + ')';
    for (let i = 0; i < map.x.length; i++) if ((map.cluster[i] === map.cluster[point]) === own) context.fillRect(left + scale * map.x[i] - side / 2, low - scale * map.y[i] - side / 2, side, side);
  }
  context.fillStyle = context.strokeStyle = colour('--ink');
  dot(point, 3);
  context.fill();
  context.lineWidth = 1.5;
  dot(point, 8);
  context.stroke();
};

/** The part of a unit's page with its place on the map, which stays hidden if it has none. @param {{row: number, unit_id: string}} unit */
export const onTheMap = unit => {
  const canvas = el('canvas', {width: 2 * WIDE, height: 2 * HIGH, 'aria-hidden': 'true'}), name = el('span', {dir: 'auto'});
  const link = el('a', {class: 'small-map', href: addressOfPage('map') + '?unit=' + encodeURIComponent(unit.unit_id), 'aria-label': unit.unit_id + ' on the map'}, canvas);
  const part = el('section', {class: 'part', hidden: true}, el('h2', {}, 'On the map', name), link);
  fetchMap().then(map => {
    const point = !map ? -1 : Array.isArray(map.rows) ? map.rows.indexOf(unit.row) : unit.row < map.rows ? unit.row : -1;
    if (point < 0) return;
    const cluster = map.clusters.find(each => each.cluster === map.cluster[point]);
    name.textContent = cluster?.name ? 'among ' + visible(cluster.name) : '';
    redraw = () => draw(canvas, map, point);
    redraw();
    part.hidden = false;
  });
  return part;
};
