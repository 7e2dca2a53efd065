// Items in the words of a list: kind, state, marked text, answer; and the last search of a run's items in this tab.
import {el, fileOfRun, published, run, searchesOf, visible} from './dom.js';
import {heat} from './heat.js';

const SHORT = {refusal: 'refused', truncated: 'cut off', parse_failure: 'unreadable', out_of_range: 'off the scale', too_long: 'too long', content_rejected: 'rejected', provider_error: 'provider failed', no_explanation: 'no explanation', gave_up: 'given up', open: 'in flight', error: 'failed attempt', lost: 'lost'};
export const ARMS = {shuffled: 'another unit\u2019s explanation', base_rate: 'silent window', near: 'beside the mark', neighbour: 'neighbour\u2019s window', variant: 'made with an aid'};

/** The text around an item's mark. @param {{tokens: string[], mark: number}} window */
export const marked = window => heat({tokens: window.tokens, activations: [], mark: window.mark}, 1);

/** A JSON answer in a few characters. @param {string | null} answer */
const brief = answer => {
  let value = answer;
  try { value = JSON.parse(answer ?? 'null'); } catch { /* it is text */ }
  const text = Array.isArray(value) ? value.map(each => each === true ? 'yes' : each === false ? 'no' : each === null ? '?' : typeof each === 'object' ? JSON.stringify(each) : String(each)).join(' ') : typeof value === 'object' ? JSON.stringify(value) : String(value);
  return text.length > 24 ? text.slice(0, 23) + '\u2026' : text;
};

/** How an item ended: its grade or answer, or in a word or two why it has none. @param {any} item */
export const badge = item => item.state !== 'scored' ? el('span', {class: 'why ' + item.state}, SHORT[item.state] ?? item.state)
  : item.grade !== null ? el('span', {class: 'grade k' + Math.max(0, Math.min(3, item.grade)), title: item.expected === null ? null : 'expected grade ' + item.expected.toFixed(2)}, String(item.grade))
  : item.kind === 'explain' ? el('span', {class: 'soft'}, 'explained')
  : item.answer !== null ? el('code', {class: 'brief'}, visible(brief(item.answer))) : el('span', {class: 'soft'}, 'answered');

const ITEMS = fileOfRun(run, published ? 'call.html?i=' : 'calls/');
/** The permanent address of an item. @param {string} id */
export const addressOfItem = id => ITEMS + encodeURIComponent(id);
/** The item that an address leads to. @param {URL | Location} url */
export const itemIn = url => published ? new URLSearchParams(url.search).get('i') ?? '' : decodeURIComponent(url.pathname.slice(ITEMS.length));

export const [lastItems, keepItems] = searchesOf('calls');
