// "Explain this now" and "grade this now": the price first, then the request, then its progress.
import {base, el, fetchJson, sendJson, visible} from './dom.js';

const POLL = 600;  // ms
const NAMES = {explain: ['explain this now', 'explain', 'e'], grade: ['grade this now', 'grade', 'g']};
/** Requests that wait or run, by unit and kind. @type {Map<string, {done: number, total: number}>} */
const running = new Map();
/** @type {any} */
let panel = null;

const address = unit => base + 'api/units/' + encodeURIComponent(unit.unit_id);
const keyOf = (unit, kind) => unit.unit_id + ' ' + kind;

/** The buttons of a unit's page. `finished` is called with the unit's id when a label was made.
 * @param {any} unit @param {(id: string) => void} finished */
export const asking = (unit, finished) => {
  const status = el('p', {class: 'price', role: 'status'});
  const button = kind => el('button', {type: 'button', class: 'tool', disabled: kind === 'grade' && !unit.labels.length, onclick: () => press(kind)}, NAMES[kind][0], ' ', el('kbd', {'aria-hidden': 'true'}, NAMES[kind][2]));
  panel = {unit, finished, status, confirming: null, buttons: {explain: button('explain'), grade: button('grade')}};
  for (const kind of ['explain', 'grade']) if (running.has(keyOf(unit, kind))) progress(panel, kind);
  return {buttons: [panel.buttons.explain, panel.buttons.grade], status};
};

/** What the key or the button of a kind does: it names the price, and confirms it when it is pressed again. @param {'explain' | 'grade'} kind */
export const press = async kind => {
  const of = panel;
  if (!of || of.buttons[kind].disabled) return;
  if (of.confirming === kind) return begin(of, kind);
  of.confirming = null;
  say(of, 'Finding the price \u2026');
  try {
    const price = await fetchJson(address(of.unit) + '/price?of=' + kind);
    if (of !== panel) return;
    const possible = !price.problem && price.units;
    of.confirming = possible ? kind : null;
    const confirm = possible && el('button', {type: 'button', class: 'tool confirm', onclick: () => begin(of, kind)}, NAMES[kind][1], ' ', el('kbd', {'aria-hidden': 'true'}, NAMES[kind][2]));
    const cancel = el('button', {type: 'button', class: 'tool', onclick: () => { of.confirming = null; of.status.replaceChildren(); of.buttons[kind].focus(); }}, possible ? 'not now' : 'close');
    of.status.replaceChildren(el('span', {}, visible(price.line), price.notes.map(note => [' ', el('span', {class: 'soft'}, visible(note) + '.')])), ' ', el('span', {class: 'choice'}, confirm, cancel));
    (confirm || cancel).focus();
  } catch (error) { fail(of, error.message); }
};

const begin = async (of, kind) => {
  of.confirming = null;
  const key = keyOf(of.unit, kind);
  if (running.has(key)) return;
  running.set(key, {done: 0, total: 0});
  progress(of, kind);
  try {
    let task = await sendJson(address(of.unit) + '/' + kind, {});
    while (task.state === 'waiting' || task.state === 'running') {
      running.set(key, task);
      if (panel.unit.unit_id === of.unit.unit_id) progress(panel, kind);
      await new Promise(resolve => setTimeout(resolve, POLL));
      task = await fetchJson(base + 'api/tasks/' + task.task_id);
    }
    running.delete(key);
    if (task.state === 'failed') throw new Error(task.error);
    of.finished(of.unit.unit_id);
  } catch (error) {
    running.delete(key);
    if (panel.unit.unit_id === of.unit.unit_id) fail(panel, error.message);
  }
};

const say = (of, ...words) => of.status.replaceChildren(...words);
const fail = (of, message) => {
  of.buttons.explain.disabled = false;
  of.buttons.grade.disabled = !of.unit.labels.length;
  say(of, el('span', {class: 'failed', role: 'alert'}, visible(message)));
};
const progress = (of, kind) => {
  const {done, total} = running.get(keyOf(of.unit, kind)) ?? {done: 0, total: 0};
  of.buttons[kind].disabled = true;
  const words = kind === 'explain' ? 'Asking for an explanation' : 'Grading on held-out examples';
  say(of, el('span', {}, words, total > 1 ? ', ' + done + ' of ' + total + ' ' : ' \u2026 '), total > 1 ? el('progress', {max: total, value: done, 'aria-label': words}) : null);
};
