// A feature in other dictionaries: its matches in the comparisons that are computed already.
import {addressOf, base, el, fetchJson, fixed, published, visible} from './dom.js';

/** A part of a unit's page, hidden until a match is found. @param {string} id */
export const elsewhere = id => {
  const part = el('section', {class: 'part elsewhere', hidden: true});
  if (!published && id.startsWith('feature-')) fetchJson(base + 'api/elsewhere/' + encodeURIComponent(id)).then(found => show(part, found)).catch(() => {});
  return part;
};
const show = (part, found) => {
  if (!found.length) return;
  part.replaceChildren(el('h2', {}, 'In other dictionaries', el('span', {}, 'cosine of decoder vectors')), ...found.flatMap(each => [
    el('h3', {}, el('a', {href: base + 'compare?with=' + encodeURIComponent(each.run)}, visible(each.run)), ' ', el('span', {}, kind(each))),
    el('ol', {class: 'others'}, [each.nearest, ...each.others].filter(Boolean).map(unit => line(each, unit))),
    each.n_others > each.others.length ? el('p', {class: 'soft'}, (each.n_others - each.others.length).toLocaleString('en') + ' more') : '']));
  part.hidden = false;
};
const kind = each => each.relation === 'same' ? 'the same dictionary' : !each.near ? 'nothing near: the nearest' : !each.mutual ? 'nearer to another feature' : each.n_others ? 'mutual nearest, and others near it' : 'mutual nearest';
const line = (each, unit) => el('li', {}, el('span', {class: 'num'}, fixed(unit.cosine)), el('a', {href: addressOf(unit.unit_id, each.base)}, unit.unit_id),
  unit.explanation === null ? el('span', {class: 'soft'}, 'not explained') : el('span', {class: 'explanation', dir: 'auto'}, visible(unit.explanation)));
