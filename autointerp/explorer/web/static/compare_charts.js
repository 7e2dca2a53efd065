// Small paired charts: this index in bars and the other one as a line over them, and the curve of features that are found again.
import {el, many, shape, short, visible} from './dom.js';

const WIDTH = 320, HEIGHT = 120, LEFT = 2, BOTTOM = 18;
const key = sides => el('p', {class: 'key'}, sides.map((side, i) => el('span', {class: i ? 'other' : 'own'}, el('i', {}), visible(side.name))));

/** One distribution of both indexes, as shares of the features of each. @param {any} given @param {any[]} sides */
export const distribution = (given, sides) => {
  const parts = given.counts[0].length;
  const shares = given.counts.map((counts, i) => counts.map(count => count / Math.max(given.n[i], 1)));
  const most = Math.max(...shares.flat(), 1e-9);
  const wide = (WIDTH - 2 * LEFT) / parts, high = HEIGHT - BOTTOM;
  const x = i => LEFT + i * wide, y = share => high - (high - 4) * share / most;
  const edge = i => short(given.log ? 10 ** given.edges[i] : given.edges[i]);
  const line = shares[1].map((share, i) => (i ? 'L' : 'M') + x(i).toFixed(1) + ' ' + y(share).toFixed(1) + 'H' + x(i + 1).toFixed(1)).join('');
  const says = i => edge(i) + ' to ' + edge(i + 1) + ': ' + given.counts.map((counts, side) => counts[i].toLocaleString('en') + ' of ' + sides[side].name).join(', ');
  const title = given.name + (given.log ? ', log scale' : '');
  return el('figure', {class: 'chart'}, el('figcaption', {}, el('b', {}, title), ' ', given.n.map((n, i) => (i ? ' and ' : '') + n.toLocaleString('en')), ' features', given.basis === 'sample' ? ', graded' : ''),
    shape('svg', {viewBox: '0 0 ' + WIDTH + ' ' + HEIGHT, role: 'img', 'aria-label': title + ' of both indexes: medians are in the table'},
      shares[0].map((share, i) => share > 0 && shape('rect', {x: x(i) + 0.4, y: y(share), width: wide - 0.8, height: high - y(share), class: 'own'})),
      shape('line', {x1: 0, x2: WIDTH, y1: high, y2: high, class: 'axis'}), shape('path', {d: line, class: 'other-line'}),
      shares[0].map((share, i) => shape('rect', {x: x(i), y: 0, width: wide, height: high, class: 'hover'}, shape('title', {}, says(i)))),
      [0, parts / 2, parts].map((i, place) => shape('text', {x: x(i), y: HEIGHT - 3, 'text-anchor': ['start', 'middle', 'end'][place]}, edge(i)))),
    key(sides));
};

const share = (n, of) => of ? (100 * n / of).toFixed(n && n < of / 100 ? 1 : 0) + '%' : '\u2013';

/** How many features of each index are found again in the other, by the cosine from which they count. @param {any} again @param {any[]} sides */
export const found = (again, sides) => el('div', {class: 'found'},
  el('div', {}, again.sides.map((side, i) => el('div', {class: 'share-of ' + (i ? 'other' : 'own')},
    el('p', {}, el('i', {}), 'Of ', el('b', {}, many(side.n, 'active feature')), ' of ', visible(sides[i].name), ', ',
      again.at.map((at, place) => [place ? place === again.at.length - 1 ? ' and ' : ', ' : '', el('b', {}, share(side.counts[place], side.n)), ' at ' + at]),
      ' have a partner in ', visible(sides[1 - i].name), '.'),
    stack(side)))),
  curve(again, sides));

const stack = side => {
  const parts = [['paired', side.paired, 'mutual nearest'], ['others', side.others, 'nearer to another'], ['alone', side.alone, 'nothing near']];
  return el('div', {class: 'stack-of'}, el('div', {class: 'stack', 'aria-hidden': 'true'}, parts.map(([name, n]) => { const bar = el('span', {class: name}); bar.style.flexGrow = String(n); return n ? bar : null; })),
    el('ul', {}, parts.map(([name, n, words]) => el('li', {class: name}, el('i', {}), words + ' ', el('b', {}, n.toLocaleString('en')), ' ' + share(n, side.n)))));
};
const curve = (again, sides) => {
  const wide = 420, high = 200, left = 34, bottom = 34;
  const [first, last] = [again.cosines[0], again.cosines.at(-1)];
  const x = cosine => left + (cosine - first) / (last - first) * (wide - left - 8), y = part => 8 + (1 - part) * (high - bottom - 8);
  const path = values => values.map((value, i) => (i ? 'L' : 'M') + x(again.cosines[i]).toFixed(1) + ' ' + y(value).toFixed(1)).join('');
  return el('figure', {class: 'chart curve'}, el('figcaption', {}, el('b', {}, 'share of features with a partner'), ' by the cosine from which one counts'),
    shape('svg', {viewBox: '0 0 ' + wide + ' ' + high, role: 'img', 'aria-label': 'share of features found again, by cosine'},
      [0, 0.25, 0.5, 0.75, 1].map(at => [shape('line', {x1: left, x2: wide - 8, y1: y(at), y2: y(at), class: 'grid'}), shape('text', {x: left - 6, y: y(at) + 4, 'text-anchor': 'end'}, 100 * at + '%')]),
      [0.3, 0.5, 0.7, 0.9].map(at => shape('text', {x: x(at), y: high - 18, 'text-anchor': 'middle'}, at)),
      shape('text', {x: (left + wide) / 2, y: high - 2, 'text-anchor': 'middle'}, 'cosine of decoder vectors'),
      again.chance !== null && again.chance > first ? [shape('line', {x1: x(again.chance), x2: x(again.chance), y1: 8, y2: high - bottom, class: 'chance'})] : null,
      again.sides.map((side, i) => [shape('path', {d: path(side.any), class: 'any ' + (i ? 'other-line' : 'own-line')}), shape('path', {d: path(side.mutual), class: i ? 'other-line' : 'own-line'})])),
    key(sides), el('p', {class: 'soft small'}, 'Solid: mutual nearest. Dashed: any nearest.' + (again.chance === null ? '' : ' By chance, after a random rotation, 1% of features exceed ' + again.chance.toFixed(2) + '.')));
};
