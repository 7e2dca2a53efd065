// Tokens coloured by a unit's activation.
import {el, visible} from './dom.js';

const LEVELS = 9;

/** How dark a token is, from 0 (not active) to 9. @param {number} activation @param {number} maximum */
export const level = (activation, maximum) => activation > 0 ? Math.max(1, Math.min(LEVELS, Math.ceil(LEVELS * activation / maximum))) : 0;

/** Tokens `first` to `last` of an example, the marked one underlined.
 * @param {{tokens: string[], activations: number[], mark: number}} example @param {number} maximum @param {number} first @param {number} last */
export const heat = (example, maximum, first = 0, last = example.tokens.length) => {
  const line = [];
  if (first > 0) line.push(el('span', {class: 'cut'}, '\u2026'));
  for (let i = first; i < Math.min(last, example.tokens.length); i++) {
    const activation = example.activations[i] ?? 0;
    const [, space, words] = /** @type {RegExpMatchArray} */ (visible(example.tokens[i]).match(/^( *)([^]*)$/));
    const strength = level(activation, maximum);
    if (i > first) line.push(space);
    const shown = words || (i === example.mark || strength ? (space ? '\u2423' : '\u25cc') : '');
    if (i === example.mark) line.push(el('mark', {class: 'h' + strength, title: activation.toPrecision(3)}, shown));
    else if (strength) line.push(el('span', {class: 'h' + strength, title: activation.toPrecision(3)}, shown));
    else line.push(shown);
  }
  if (last < example.tokens.length) line.push(el('span', {class: 'cut'}, '\u2026'));
  return line;
};
