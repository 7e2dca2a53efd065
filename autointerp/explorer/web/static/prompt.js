// Prompts and replies as the judge saw and wrote them: whitespace kept, marks and tags visible, folded if long; all of it text.
import {el, visible} from './dom.js';
import {copy} from './figures.js';

const LINES = 14;  // lines of a folded text
const PARTS = /(<<[^]*?>>|<\/?[a-z_]+(?: \d+)?>)/g;

/** A line break stays one; every other invisible character has a symbol. @param {string} text */
const lines = text => text.split('\n').map(visible).join('\n');

/** Marks and tags of a prompt as elements. @param {string} text */
const parts = text => text.split(PARTS).map((part, i) => i % 2 === 0 ? lines(part) : part.startsWith('<<') && part !== '<< and >>'
  ? el('mark', {}, lines(part)) : part.startsWith('<<') ? part : el('span', {class: 'tag'}, part));

/** A text with its name, a button to copy it, and one to unfold it. @param {string} title @param {string | null} note @param {string} text @param {boolean} [isPrompt] */
export const verbatim = (title, note, text, isPrompt = true) => {
  const isLong = text.split('\n').length > LINES + 4 || text.length > 2400;
  const body = el('pre', {tabindex: isLong ? null : 0}, isPrompt ? parts(text) : lines(text));
  const box = el('div', {class: 'verbatim' + (isLong ? ' folded' : '')});
  const fold = folded => { box.classList.toggle('folded', folded); button?.setAttribute('aria-expanded', String(!folded)); if (button) button.textContent = folded ? 'show all ' + text.split('\n').length.toLocaleString('en') + ' lines' : 'show less'; };
  const button = isLong ? el('button', {type: 'button', class: 'more', 'aria-expanded': 'false', onclick: () => fold(!box.classList.contains('folded'))}) : null;
  box.append(el('div', {class: 'title'}, el('h3', {}, title, note ? el('span', {}, note) : null), copy(text, title)), body, ...(button ? [button] : []));
  if (isLong) fold(true);
  box.addEventListener('unfold', event => { if (isLong) fold(!(/** @type {CustomEvent} */ (event).detail)); });
  return box;
};

/** A JSON value, indented. @param {string} title @param {string | null} note @param {any} value */
export const json = (title, note, value) => verbatim(title, note, JSON.stringify(value, null, 1), false);
