// Features that are set, and the continuations of the text with and without them.
import {$, base, el, fetchJson, many, sendForLines, short, visible} from './dom.js';
import {linkTo, name} from './reading.js';

const SLIDING = 120, SEARCHING = 200, MOST = 8, LARGEST = 10, FACTOR = 2, FOUND = 6, CONTEXT = 60;  // ms; ms; features; multiples of the maximum; rows; characters of the text that are shown before its continuation
const FIELDS = {'new-tokens': 'tokens', temperature: 'temperature', seed: 'seed'};
const TITLES = {plain: 'unchanged', steered: 'features set', control: 'control: a random direction'};
const lines = text => text.split('\n').map(visible).join('\n');
const multiple = factor => '\u00d7' + String(factor).replace('-', '\u2212');

export class Steering {
  /** `asks()` is the text and the chat choice, `changed()` after a choice of the reader, `failed(error)` for an error. */
  constructor(page) {
    this.page = page;
    /** @type {Map<string, {unit: any, factor: number}>} */
    this.chosen = new Map();
    for (const id of [...Object.keys(FIELDS), 'control']) $(id).addEventListener('change', () => { page.changed(); this.runSoon(0); });
    $('add').addEventListener('input', () => { clearTimeout(this.searching); this.searching = setTimeout(() => this.search(), SEARCHING); });
    $('add').addEventListener('keydown', event => {
      if (event.key === 'Enter') { event.preventDefault(); this.search(true); }
      if (event.key === 'Escape') { event.preventDefault(); this.clear(); $('add').blur(); }
    });
  }

  ids() { return [...this.chosen.keys()]; }
  has(id) { return this.chosen.has(id); }

  write(given) {
    for (const [id, {factor}] of this.chosen) given.append('f', id + ':' + factor);
    for (const [id, key] of Object.entries(FIELDS)) if ($(id).value !== $(id).defaultValue) given.set(key, $(id).value);
    if ($('control').checked) given.set('control', '1');
  }

  async read(given) {
    for (const [id, key] of Object.entries(FIELDS)) $(id).value = given.get(key) ?? $(id).defaultValue;
    $('control').checked = given.has('control');
    const named = given.getAll('f').slice(0, MOST).map(each => each.split(':'));
    const units = await Promise.allSettled(named.map(([id]) => this.known(id)));
    this.chosen.clear();
    units.forEach((found, i) => {
      const factor = Math.max(-LARGEST, Math.min(LARGEST, Number(named[i][1])));
      if (found.status === 'fulfilled') this.chosen.set(found.value.unit_id, {unit: found.value, factor: Number.isFinite(factor) ? factor : FACTOR});
      else this.page.failed(found.reason);
    });
    this.draw();
  }

  /** What is shown of a unit, by its id. */
  async known(id) {
    const unit = this.chosen.get(id)?.unit ?? await fetchJson(base + 'api/units/' + encodeURIComponent(id));
    if (!unit.labels) return unit;
    const marked = unit.examples.filter(each => each.bin === 0).map(each => each.tokens[each.mark]);
    return {...unit, explanation: unit.labels[0]?.explanation ?? null, marked: [...new Set(marked)].slice(0, 4), promoted: (unit.promoted ?? []).slice(0, 4).map(each => each.token)};
  }

  toggle(unit) {
    if (this.chosen.has(unit.unit_id)) this.chosen.delete(unit.unit_id);
    else if (this.chosen.size < MOST) this.chosen.set(unit.unit_id, {unit, factor: FACTOR});
    else { this.page.failed(new Error('At most ' + MOST + ' features are set at once: remove one first.')); return; }
    this.draw();
    this.page.changed();
    this.runSoon(0);
  }

  focus() { $('chosen').querySelector('input')?.focus(); }

  draw() {
    $('chosen').replaceChildren(...[...this.chosen.values()].map(each => {
      const {unit} = each, silent = !(unit.maximum > 0);
      const value = el('output', {class: 'num'});
      const say = () => { value.replaceChildren(el('b', {}, multiple(each.factor)), ' ', short(each.factor * unit.maximum)); };
      const slide = el('input', {type: 'range', min: -LARGEST, max: LARGEST, step: 0.5, value: each.factor, disabled: silent, 'aria-label': 'multiple of its maximum that ' + unit.unit_id + ' is set to',
        oninput: () => { each.factor = Number(slide.value); say(); this.runSoon(SLIDING); }, onchange: () => this.page.changed()});
      say();
      return el('li', {class: unit.kind}, el('div', {class: 'which'}, linkTo(unit), name(unit, true)),
        slide, silent ? el('span', {class: 'soft'}, 'never active in the corpus') : value,
        el('button', {type: 'button', class: 'quiet', 'aria-label': 'do not set ' + unit.unit_id, onclick: () => this.toggle(unit)}, 'remove'));
    }));
    if (!this.chosen.size) { this.controller?.abort(); $('continuations').replaceChildren(); $('pace').textContent = ''; }
    $('manner').hidden = !this.chosen.size;
  }

  // A feature by its number or by words.
  async search(first = false) {
    clearTimeout(this.searching);
    const asked = $('add').value.trim();
    if (!asked) { this.clear(); return; }
    try {
      const number = asked.match(/^(?:feature-)?(\d+)$/);
      const rows = number || /^neuron-\d+[+-]$/.test(asked) ? [await this.known(number ? 'feature-' + number[1] : asked)] : (await fetchJson(base + 'api/rows?' + new URLSearchParams({q: asked, limit: String(FOUND)}))).rows;
      if ($('add').value.trim() !== asked) return;
      if (first && rows.length) { this.choose(rows[0]); return; }
      $('found').replaceChildren(...rows.map(unit => el('li', {}, el('button', {type: 'button', onclick: () => this.choose(unit)}, el('span', {class: 'id'}, unit.unit_id), name(unit)))));
      if (!rows.length) $('found').replaceChildren(el('li', {class: 'soft'}, 'nothing is found'));
    } catch (error) { $('found').replaceChildren(el('li', {class: 'soft'}, error.message)); }
  }

  choose(unit) { if (!this.chosen.has(unit.unit_id)) this.toggle(unit); this.clear(); this.focusOn(unit.unit_id); }
  clear() { $('add').value = ''; $('found').replaceChildren(); }
  focusOn(id) { $('chosen').querySelectorAll('input')[this.ids().indexOf(id)]?.focus(); }

  // Continuations.
  runSoon(wait) { clearTimeout(this.waiting); this.waiting = setTimeout(() => this.run(), wait); }

  async run() {
    this.controller?.abort();
    const units = [...this.chosen].filter(([, {unit}]) => unit.maximum > 0).map(([unit, {factor}]) => ({unit, factor})), asks = this.page.asks();
    if (!units.length || !asks.text) return;
    const controller = this.controller = new AbortController();
    const body = {...asks, units, tokens: Number($('new-tokens').value), temperature: Number($('temperature').value), seed: Number($('seed').value), control: $('control').checked};
    const shown = ['plain', 'steered', ...(body.control ? ['control'] : [])];
    this.panels(shown, asks);
    $('pace').textContent = '';
    let steps = 0, first = 0;
    try {
      await sendForLines(base + 'api/live/continue', body, line => {
        if (line.error) throw Object.assign(new Error(line.error), {again: line.again});
        if (line.end) { $('pace').textContent = this.pace(line.end, steps, first, performance.now()); return; }
        for (const kind of shown) if (kind in line) $('continuations').querySelector('.' + kind + ' .more-text').textContent = lines(line[kind]);
        if (line.n) { steps = line.n; first ||= performance.now(); }
      }, controller.signal);
      this.settle();
    } catch (error) {
      if (controller.signal.aborted) return;
      this.settle();
      this.page.failed(error);
    }
  }

  pace(end, steps, first, now) {
    const speed = steps > 1 ? ', ' + ((steps - 1) / Math.max(0.001, (now - first) / 1000)).toFixed(0) + ' a second' : '';
    return many(steps, 'token') + speed + (end === 'time' ? '; stopped, because it took too long' : '');
  }

  panels(shown, {text}) {
    const tail = text.length > CONTEXT ? '\u2026' + text.slice(-CONTEXT) : text;
    const kinds = [...$('continuations').children].map(each => each.dataset.kind);
    if (kinds.join() !== shown.join()) $('continuations').replaceChildren(...shown.map(kind => el('article', {class: kind, 'data-kind': kind}, el('h3', {}, TITLES[kind]), el('p', {class: 'window', dir: 'auto'}, el('span', {class: 'tail'}), el('span', {class: 'more-text'})))));
    for (const panel of $('continuations').children) {
      panel.classList.add('waiting');
      panel.querySelector('.tail').textContent = lines(tail);
    }
    $('continuations').className = 'n' + shown.length;
  }

  settle() { for (const panel of $('continuations').children) panel.classList.remove('waiting'); }
}
