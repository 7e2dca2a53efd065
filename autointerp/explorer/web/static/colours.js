// Colours of values on the map, and their legend. Each scale rises or falls in lightness from end to end, so that it is read without hues too.
import {el, short} from './dom.js';

const SCALES = {light: ['#e09a2b', '#d6653b', '#b13b68', '#6e2f84', '#1f2a6b'], dark: ['#6d66dd', '#b463c6', '#ec7889', '#f8ab6b', '#fbe78d']};
const KINDS = {
  light: ['#0b6fb0', '#d05a00', '#00876a', '#b8528c', '#9a7400', '#5b49b5', '#2f8fc4', '#7c5433'],
  dark: ['#56b4e9', '#ee8c42', '#33c79c', '#e39bc4', '#e6c54d', '#ab9dff', '#9ad8ff', '#cda882'],
};
const NONE = {light: '#d3cec3', dark: '#44423d'};
const STEPS = 256, BARS = 32, OUTER = 0.01;  // colours of a scale, bars of its legend, share of values beyond each end of a logarithmic one
/** How values become places on the scale: by their logarithm, by their rank among all, or between two ends. */
const STRETCH = {density: 'log', events: 'log', maximum: 'rank', mean: 'rank', grade: [0, 3], distinction: [0, 1], probability: [0, 1]};
const SAID = {none: 'no explanation', propagated: 'propagated', live: 'made in the explorer', run: 'from a run'};

const dark = matchMedia('(prefers-color-scheme: dark)');
/** Call when the reader's scheme changes. @param {() => void} then */
export const onScheme = then => dark.addEventListener('change', then);
const scheme = () => dark.matches ? 'dark' : 'light';
/** Red, green and blue of a colour such as #0b6fb0. @param {string} colour */
export const rgb = colour => [1, 3, 5].map(i => parseInt(colour.slice(i, i + 2), 16));

const between = t => {
  const stops = SCALES[scheme()].map(rgb), at = t * (stops.length - 1), i = Math.min(stops.length - 2, Math.floor(at));
  return stops[i].map((value, k) => Math.round(value + (stops[i + 1][k] - value) * (at - i)));
};
const paint = (colours, i, [r, g, b], alpha) => { colours[4 * i] = r; colours[4 * i + 1] = g; colours[4 * i + 2] = b; colours[4 * i + 3] = alpha; };
const css = ([r, g, b]) => 'rgb(' + r + ',' + g + ',' + b + ')';
const swatch = (colour, text) => { const mark = el('i', {}); mark.style.background = css(colour); return el('li', {}, mark, text); };

/** The place from 0 to 1 of each value, and the values at parts of the scale. */
const stretched = (values, how) => {
  const known = Float64Array.from(values.filter(value => value !== null && (how !== 'log' || value > 0))).sort();
  if (!known.length) return {place: () => 0, at: null};
  if (how === 'rank') {
    const below = value => { let low = 0, high = known.length; while (low < high) { const mid = (low + high) >> 1; if (known[mid] < value) low = mid + 1; else high = mid; } return low; };
    return {place: value => below(value) / Math.max(1, known.length - 1), at: part => known[Math.round(part * (known.length - 1))]};
  }
  const [low, high] = how === 'log' ? [OUTER, 1 - OUTER].map(part => Math.log(known[Math.round(part * (known.length - 1))])) : how;
  const measure = how === 'log' ? value => value > 0 ? Math.log(value) : low : value => value;
  const room = high - low || 1;
  return {place: value => Math.max(0, Math.min(1, (measure(value) - low) / room)), at: part => how === 'log' ? Math.exp(low + part * room) : low + part * room};
};

/** Colours (4 bytes each) of a column's values, null for no value, and the elements of its legend. @param {string} name @param {(number | null)[]} values */
const byNumber = (name, values) => {
  const how = STRETCH[name], scale = stretched(values, how), table = Array.from({length: STEPS}, (_, i) => between(i / (STEPS - 1)));
  const colours = new Uint8Array(4 * values.length), none = rgb(NONE[scheme()]);
  let missing = 0;
  values.forEach((value, i) => {
    const known = value !== null && (how !== 'log' || value > 0);
    if (!known) missing++;
    paint(colours, i, known ? table[Math.round(scale.place(value) * (STEPS - 1))] : none, known ? 235 : 110);
  });
  const ramp = el('div', {class: 'ramp'}, Array.from({length: BARS}, (_, i) => { const bar = el('i', {}); bar.style.background = css(between(i / (BARS - 1))); return bar; }));
  const ticks = scale.at && el('div', {class: 'ticks num'}, [0, 0.25, 0.5, 0.75, 1].map(part => el('span', {}, short(scale.at(part)))));
  const note = how === 'log' ? 'logarithmic; the lowest and highest hundredth are at the ends' : how === 'rank' ? 'a quarter of the features between two marks' : '';
  return {colours, legend: [scale.at && ramp, ticks, note && el('p', {class: 'soft'}, note), missing > 0 && el('ul', {class: 'swatches'}, swatch(none, how === 'log' ? 'never active (' + missing.toLocaleString('en') + ')' : 'no value (' + missing.toLocaleString('en') + ')'))]};
};

/** Colours of where explanations are from. */
const byLabel = (values, kinds) => {
  const palette = KINDS[scheme()], colours = new Uint8Array(4 * values.length), none = rgb(NONE[scheme()]);
  const of = kinds.map((kind, i) => kind === 'none' ? none : rgb(palette[(i + 2) % 4]));
  const counts = kinds.map(() => 0);
  values.forEach((kind, i) => { counts[kind]++; paint(colours, i, of[kind], kinds[kind] === 'none' ? 110 : 235); });
  return {colours, legend: [el('ul', {class: 'swatches'}, kinds.map((kind, i) => counts[i] > 0 && swatch(of[i], SAID[kind] + ' (' + counts[i].toLocaleString('en') + ')')).reverse())]};
};

/** Colours of clusters: the larger ones choose first, each the colour whose clusters are the furthest away. */
const byCluster = (cluster, clusters) => {
  const palette = KINDS[scheme()].map(rgb), chosen = new Map();
  for (const each of clusters.slice().sort((a, b) => b.size - a.size)) {
    const far = palette.map((_, colour) => Math.min(...[...chosen].filter(([, of]) => of === colour).map(([other]) => (other.x - each.x) ** 2 + (other.y - each.y) ** 2), Infinity));
    chosen.set(each, far.indexOf(Math.max(...far)));
  }
  const of = new Map([...chosen].map(([each, colour]) => [each.cluster, palette[colour]]));
  const colours = new Uint8Array(4 * cluster.length), none = rgb(NONE[scheme()]);
  cluster.forEach((number, i) => paint(colours, i, of.get(number) ?? none, of.has(number) ? 225 : 110));
  return {colours, of, legend: [el('p', {class: 'soft'}, 'Neighbouring clusters differ in colour. Far ones may share one.')]};
};

/** Colours and legend for a choice of the map. @param {string} name @param {any} answer of `api/map/values` @param {any} map */
export const coloured = (name, answer, map) => name === 'cluster' ? byCluster(map.cluster, map.clusters) : name === 'label' ? byLabel(answer.values, answer.kinds) : byNumber(name, answer.values);
