// The tables of a comparison: figures of all features, and measures of the graded ones with their intervals.
import {el, fixed, percent, shape, short, visible} from './dom.js';

const FORMATS = {share: percent, count: value => value === null ? '\u2013' : value.toLocaleString('en').replace('-', '\u2212'), number: short, grade: value => value === null ? '\u2013' : fixed(value)};
const signed = (value, text) => value === null ? '\u2013' : value === 0 ? '0' : (value > 0 ? '+' : '') + text;
const head = (sides, ...more) => el('thead', {}, el('tr', {}, el('th', {scope: 'col'}, 'figure'),
  sides.map((side, i) => el('th', {scope: 'col', class: i ? 'other' : 'own'}, el('i', {}), visible(side.name))), more.map(each => el('th', {scope: 'col'}, each))));

/** Figures with their values in both indexes and the difference. @param {any[]} figures @param {any[]} sides */
export const figuresTable = (figures, sides) => el('div', {class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'figures'}, el('table', {class: 'figures-table'}, head(sides, 'difference'),
  el('tbody', {}, figures.map(each => {
    const say = FORMATS[each.format];
    const difference = each.format === 'share' && each.difference !== null ? short(100 * each.difference) + ' points' : say(each.difference);
    return el('tr', {}, el('th', {scope: 'row'}, each.name), each.values.map(value => el('td', {}, say(value))), el('td', {}, signed(each.difference, difference)));
  }))));

/** Measures of the graded units with their intervals drawn on one scale. @param {any} grades @param {any[]} sides */
export const measuresTable = (grades, sides) => {
  const ends = grades.measures.flatMap(each => [each.low, each.high, each.difference]).filter(each => each !== null).map(Math.abs);
  const most = Math.max(...ends, 0.05) * 1.08;
  return el('div', {class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'measures of the graded units'}, el('table', {class: 'measures-table'},
    head(sides, 'difference', Math.round(100 * grades.confidence) + '% interval', 'could be found', 'units'),
    el('tbody', {}, grades.measures.map((each, i) => el('tr', {class: i ? '' : 'main'}, el('th', {scope: 'row'}, visible(each.title)),
      el('td', {}, FORMATS.grade(each.own)), el('td', {}, FORMATS.grade(each.other)),
      el('td', {}, el('b', {}, signed(each.difference, FORMATS.grade(each.difference))), each.low === null ? null : el('small', {}, ' [' + signed(each.low, fixed(each.low)) + ', ' + signed(each.high, fixed(each.high)) + ']')),
      el('td', {class: 'interval'}, each.low === null ? el('small', {title: each.why ?? ''}, 'none') : interval(each, most)),
      el('td', {}, each.smallest === null ? '\u2013' : fixed(each.smallest)), el('td', {}, each.n_units.toLocaleString('en')))))));
};
const WIDE = 160;
const interval = (measure, most) => {
  const x = value => WIDE / 2 + value / most * (WIDE / 2 - 4);
  return shape('svg', {viewBox: '0 0 ' + WIDE + ' 16', class: 'interval ' + measure.verdict.replaceAll(' ', '-'), 'aria-hidden': 'true'},
    shape('line', {x1: x(0), x2: x(0), y1: 0, y2: 16, class: 'zero'}), shape('line', {x1: x(measure.low), x2: x(measure.high), y1: 8, y2: 8, class: 'span'}),
    shape('circle', {cx: x(measure.difference), cy: 8, r: 3.5}));
};
