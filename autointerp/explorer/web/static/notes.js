// The note about a unit, and the lists that have it.
import {$, addressOfSearch, base, el, fetchJson, sendJson, visible} from './dom.js';

const MOST = 10000;
/** @type {any} */
let shown = null;

/** The note and the lists of a unit. They are fetched after the unit, and can be changed if `writes`. @param {any} unit @param {boolean} writes */
export const ownOf = (unit, writes) => {
  const of = shown = {unit, writes, note: null, lists: null, noteBox: el('div', {class: 'note'}), listBox: el('p', {class: 'in-lists'})};
  load(of);
  return of;
};
const noteAddress = of => base + 'api/notes/' + encodeURIComponent(of.unit.unit_id);
const load = async of => {
  try {
    const [note, lists] = await Promise.all([fetchJson(noteAddress(of)), fetchJson(base + 'api/lists?unit=' + encodeURIComponent(of.unit.unit_id))]);
    of.note = note;
    of.lists = lists.lists;
    showNote(of);
    showLists(of);
    if (of.wanted && of === shown) editNote();
  } catch (error) { complain(of, error.message); }
};
const complain = (of, message) => of.noteBox.replaceChildren(el('p', {class: 'failed', role: 'alert'}, visible(message)));

// The note.
const showNote = of => of.noteBox.replaceChildren(...(of.note.text
  ? [el('p', {class: 'text', dir: 'auto'}, el('span', {class: 'hidden'}, 'Note: '), visibleLines(of.note.text))] : []));
const visibleLines = text => text.split('\n').map((line, i) => [i ? el('br') : null, visible(line)]);

/** Open the editor of the note, as soon as the note is there. */
export const editNote = () => {
  if (shown && !shown.note) shown.wanted = true;
  else if (shown?.writes && !shown.noteBox.querySelector('textarea')) edit(shown, shown.note.text, shown.note.version);
};
const edit = (of, text, version) => {
  const area = el('textarea', {id: 'note-text', rows: 4, maxlength: MOST, dir: 'auto', 'aria-label': 'note about ' + of.unit.unit_id, placeholder: 'What you know or want to remember about this unit'});
  area.value = text;
  const said = el('p', {class: 'failed', role: 'alert', hidden: true});
  const close = () => { showNote(of); $('note-button')?.focus(); };
  const save = async () => {
    try {
      of.note = await sendJson(noteAddress(of), {text: area.value, version}, undefined, 'PUT');
      close();
    } catch (error) {
      said.replaceChildren(visible(error.message));
      if (error.status === 409) said.append(' ', el('button', {type: 'button', class: 'tool', onclick: () => { of.note = error.body.note; edit(of, of.note.text, of.note.version); }}, 'load the newer note'));
      said.hidden = false;
    }
  };
  area.addEventListener('keydown', event => {
    if (event.key === 'Escape' && area.value === text) close();
    else if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) { event.preventDefault(); save(); }
  });
  of.noteBox.replaceChildren(area, said, el('div', {class: 'tools'},
    el('button', {type: 'button', class: 'tool confirm', onclick: save}, 'save ', el('kbd', {'aria-hidden': 'true'}, 'Ctrl Enter')), el('button', {type: 'button', class: 'tool', onclick: close}, 'discard')));
  area.focus();
};

// The lists.
const showLists = of => of.listBox.replaceChildren(...of.lists.filter(each => each.has).map((each, i) => [i ? ', ' : 'In ', el('a', {href: addressOfSearch('list=' + each.list_id), dir: 'auto'}, visible(each.name))]).flat());

/** Open the dialog of the lists. */
export const openLists = () => {
  const of = shown, dialog = $('lists');
  if (!of?.lists || !of.writes || dialog.open) return;
  const said = el('p', {class: 'failed', role: 'alert', hidden: true});
  const tell = error => { said.replaceChildren(visible(error.message)); said.hidden = false; };
  const choose = async (list, has) => {
    try {
      Object.assign(list, await sendJson(base + 'api/lists/' + list.list_id, has ? {add: [of.unit.unit_id]} : {remove: [of.unit.unit_id]}, undefined, 'PUT'), {has});
      said.hidden = true;
    } catch (error) { tell(error); draw(); }
    showLists(of);
  };
  const boxes = el('ul', {class: 'choices'});
  const draw = () => boxes.replaceChildren(...of.lists.map(list => el('li', {}, el('label', {},
    el('input', {type: 'checkbox', checked: list.has, onchange: event => choose(list, event.target.checked)}), el('span', {dir: 'auto'}, visible(list.name)), el('small', {}, String(list.n))))));
  const name = el('input', {type: 'text', maxlength: 80, autocomplete: 'off', 'aria-label': 'name of a new list', placeholder: 'new list'});
  const make = async event => {
    event.preventDefault();
    if (!name.value.trim()) return name.focus();
    try {
      of.lists.push({...await sendJson(base + 'api/lists', {name: name.value, unit_ids: [of.unit.unit_id]}), has: true});
      name.value = '';
      said.hidden = true;
      draw();
      showLists(of);
    } catch (error) { tell(error); }
  };
  draw();
  $('lists-body').replaceChildren(boxes, el('form', {class: 'new', onsubmit: make}, name, el('button', {type: 'submit'}, 'make')), said);
  dialog.showModal();
  (boxes.querySelector('input') ?? name).focus();
};
