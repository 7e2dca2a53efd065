// The lists of units: made, renamed, emptied, deleted with a way back, and exported.
import {$, addressOfSearch, base, el, fetchJson, many, onKeys, problem, published, sendJson, visible} from './dom.js';
import {time} from './figures.js';

const writes = $('all').dataset.own === 'write';
const address = list => base + 'api/lists/' + list.list_id;
const fileOf = (list, ending) => published ? base + 'lists/list-' + list.list_id + '.' + ending : address(list) + '/units.' + ending;
/** @type {any[]} */
let lists = [];

const change = async (list, body, method = 'PUT') => {
  try {
    Object.assign(list, await sendJson(address(list), body, undefined, method));
    problem(null);
    return true;
  } catch (error) { problem(error.message); return false; }
};
const button = (words, onclick, label) => el('button', {type: 'button', class: 'tool', onclick, 'aria-label': label}, words);
const draw = list => {
  const item = el('li', {class: list.deleted ? 'list gone' : 'list'});
  const redraw = focus => { const drawn = draw(list); item.replaceWith(drawn); drawn.querySelector(focus ?? 'h2 a, button')?.focus(); };
  if (list.deleted) {
    item.append(el('h2', {dir: 'auto'}, visible(list.name)), el('div', {class: 'tools'}, el('span', {class: 'soft'}, 'deleted'), button('undo', async () => { if (await change(list, {deleted: false})) redraw(); }, 'undo the deletion of ' + list.name)));
    return item;
  }
  const rename = () => {
    const input = el('input', {value: list.name, maxlength: 80, autocomplete: 'off', 'aria-label': 'new name of ' + list.name});
    const form = el('form', {class: 'rename', onsubmit: async event => { event.preventDefault(); if (await change(list, {name: input.value})) redraw(); }}, input, el('button', {type: 'submit'}, 'rename'), button('keep', () => redraw()));
    input.addEventListener('keydown', event => { if (event.key === 'Escape') redraw(); });
    item.querySelector('h2').replaceWith(form);
    input.select();
  };
  const empty = async () => {
    const before = (await fetchJson(address(list))).units.map(unit => unit.unit_id);
    if (!await change(list, {unit_ids: []})) return;
    redraw();
    lists.forEach(each => { if (each !== list) delete each.before; });
    list.before = before;
    const drawn = [...document.querySelectorAll('.list')].find(node => node.querySelector('h2 a')?.getAttribute('href') === addressOfSearch('list=' + list.list_id));
    drawn?.querySelector('.tools').prepend(button('put ' + many(before.length, 'unit') + ' back', async () => { if (await change(list, {unit_ids: before})) redraw(); }));
  };
  item.append(
    el('h2', {dir: 'auto'}, el('a', {href: addressOfSearch('list=' + list.list_id)}, visible(list.name))),
    el('div', {class: 'tools'}, list.n ? [el('a', {href: fileOf(list, 'csv'), download: ''}, 'CSV'), ' ', el('a', {href: fileOf(list, 'json'), download: ''}, 'JSON')] : null,
      writes ? [button('rename', rename, 'rename ' + list.name), list.n ? button('empty', empty, 'empty ' + list.name) : null, button('delete', async () => { if (await change(list, {}, 'DELETE')) redraw(); }, 'delete ' + list.name)] : null),
    el('p', {class: 'soft'}, many(list.n, 'unit') + ', changed ' + time(list.changed_at)));
  return item;
};
const show = async () => {
  try {
    const found = await fetchJson(base + 'api/lists');
    lists = found.lists;
    $('all').replaceChildren(...lists.map(draw));
    $('none').textContent = writes ? 'No list yet: name one here, or press l on the page of a unit.' : 'There is no list.';
    $('none').hidden = lists.length > 0;
    $('noted').replaceChildren(...(found.noted ? [el('a', {href: addressOfSearch('noted=yes')}, many(found.noted, 'unit')), ' with a note'] : ['No unit has a note.']));
  } catch (error) { problem(error.message); } finally { $('all').setAttribute('aria-busy', 'false'); }
};
$('new')?.addEventListener('submit', async event => {
  event.preventDefault();
  try {
    await sendJson(base + 'api/lists', {name: $('name').value, unit_ids: []});
    $('name').value = '';
    problem(null);
    await show();
  } catch (error) { problem(error.message); }
});
const step = by => {
  const links = [...document.querySelectorAll('.list h2 a')], at = links.indexOf(document.activeElement);
  /** @type {HTMLElement | undefined} */ (links[Math.max(0, Math.min(links.length - 1, at + by))])?.focus();
};
onKeys({j: () => step(1), k: () => step(-1), n: () => $('name')?.focus(), '/': () => { location.href = addressOfSearch() + '#search'; }});
show();
