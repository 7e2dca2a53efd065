// The lists of a comparison: pairs, features of one index alone, and families.
import {$, addressOf, base, el, fixed, grade, problem, rate, short, unexplained, visible} from './dom.js';
import {VirtualList} from './list.js';
import {PagedRows} from './paged_rows.js';

const TYPING = 150;  // ms
const LISTS = [
  ['pairs', 'pairs', 'Features that are each other\u2019s nearest.'],
  ['graded', 'graded in both', 'Pairs with a grade in both, the largest difference first. Single units differ by chance: a pair is marked only where its change is beyond it.'],
  ['changed', 'other explanation', 'Pairs whose explanations differ, those of the least alike meaning first.'],
  ['splits', 'splits', 'One feature here, and the several features there whose nearest it is.'],
  ['joins', 'joins', 'One feature there, and the several features here whose nearest it is.'],
  ['only-own', 'only here', 'Active features without a near one in the other dictionary, beside their nearest.'],
  ['only-other', 'only there', 'Active features of the other dictionary without a near one here, beside their nearest.'],
];
const SORTS = [['', 'usual order'], ['-cosine', 'cosine, highest first'], ['cosine', 'cosine, lowest first'], ['-change', 'difference of grade, largest first'], ['-difference', 'grade, most higher there'],
  ['difference', 'grade, most lower there'], ['similarity', 'explanations, least alike first'], ['-grade', 'grade here, highest first'], ['-grade-other', 'grade there, highest first'],
  ['-density', 'density here, highest first'], ['-density-other', 'density there, highest first'], ['-ratio', 'density, most denser there'], ['ratio', 'density, most rarer there'],
  ['-rise', 'maximum, most higher there'], ['number', 'number']];
const FAMILIES = ['splits', 'joins'], SAME = ['pairs', 'graded', 'changed', 'only-own', 'only-other'];
const PARENT = 1, LAST = 3;
const SAME_NOTES = {pairs: 'The features of the dictionary that are active in both indexes.', 'only-own': 'Features that are active here and never there.', 'only-other': 'Features that are active there and never here.'};

export class PairList {
  constructor() {
    this.form = /** @type {HTMLFormElement} */ ($('search'));
    this.fields = this.form.elements;
    this.entries = new PagedRows(() => base + 'api/compare/rows?' + this.query, (first, last) => this.list.redraw(first, last));
    this.list = new VirtualList($('list'), $('rows'), place => this.draw(place), (first, last) => this.entries.need(first, last));
    this.active = 0;
    $('sort').replaceChildren(...SORTS.map(([value, words]) => el('option', {value}, words)));
    this.form.addEventListener('input', () => { clearTimeout(this.timer); this.timer = setTimeout(() => this.search(), TYPING); });
    this.form.addEventListener('submit', event => { event.preventDefault(); clearTimeout(this.timer); this.search(); $('list').focus(); });
    $('text').addEventListener('keydown', event => { if (event.key === 'Escape' || event.key === 'ArrowDown') { event.preventDefault(); this.enter(); } });
  }

  /** Show the lists of a comparison. @param {string} run @param {any} answer */
  open(run, answer) {
    this.run = run;
    this.sides = answer.sides;
    this.same = answer.relation === 'same';
    this.lists = LISTS.filter(([name]) => !this.same || SAME.includes(name));
    const given = new URLSearchParams(location.search);
    const chosen = this.lists.some(([name]) => name === given.get('show')) ? given.get('show') : 'pairs';
    $('lists').replaceChildren(...this.lists.map(([name, words]) => el('label', {}, el('input', {type: 'radio', name: 'show', value: name, checked: name === chosen}),
      el('span', {}, words + ' ', el('b', {}, answer.lengths[name].toLocaleString('en'))))));
    this.fields.text.value = given.get('q') ?? '';
    [this.fields.low.value, this.fields.high.value] = (given.get('cosine') ?? '..').split('..');
    this.fields.sort.value = SORTS.some(([value]) => value === given.get('sort')) ? given.get('sort') : '';
    this.form.querySelector('.range').hidden = this.same;
    $('head-cosine').textContent = this.same ? 'meaning' : 'cosine';
    this.search(history.state?.place ?? 0, !history.state);
  }

  params() {
    const given = new URLSearchParams({with: this.run}), text = this.fields.text.value.trim();
    if (this.fields.show.value !== 'pairs') given.set('show', this.fields.show.value);
    if (text) given.set('q', text);
    const low = this.fields.low.value.trim(), high = this.fields.high.value.trim();
    if (low || high) given.set('cosine', low + '..' + high);
    if (this.fields.sort.value) given.set('sort', this.fields.sort.value);
    return given;
  }

  async search(place = 0, quiet = false) {
    this.families = FAMILIES.includes(this.fields.show.value);
    $('rows').classList.toggle('families', this.families);
    this.form.querySelector('.order').hidden = this.families;
    const [name, , note] = this.lists.find(([name]) => name === this.fields.show.value);
    $('list-note').textContent = (this.same && SAME_NOTES[name]) || note;
    this.query = this.params().toString();
    if (!quiet) history.replaceState(history.state, '', '?' + this.query);
    this.controller?.abort();
    const controller = this.controller = new AbortController();
    try {
      const answer = await this.entries.ask(place, controller.signal);
      this.entries.reset(answer, place);
      this.active = Math.min(place, Math.max(0, answer.n - 1));
      problem(null);
      $('count').textContent = answer.n.toLocaleString('en') + (answer.n === 1 ? ' entry' : ' entries');
      $('list').classList.toggle('empty', answer.n === 0);
      this.list.reset(answer.n, place ? Math.max(0, place - 2) : 0);
    } catch (error) { if (!controller.signal.aborted) { problem(error.message); $('count').textContent = ''; } }
  }

  draw(place) {
    const row = this.entries.at(place);
    const state = place === this.active ? ' active' : '';
    if (!row) return el('div', {class: 'pair-row waiting', role: 'listitem'}, String(place + 1));
    if (row.place) return el('div', {class: 'pair-row family ' + (row.place === PARENT ? 'parent' : row.place === LAST ? 'child last' : 'child') + state, role: 'listitem'},
      el('span', {class: 'num cosine'}, row.place === PARENT ? '' : fixed(row.cosine)), row.own ? this.side(row.own, 0, place) : this.side(row.other, 1, place));
    return el('div', {class: 'pair-row' + state, role: 'listitem'},
      el('span', {class: 'num cosine', title: row.shared === null ? 'cosine' : row.shared + ' of ' + row.compared + ' strongest examples at the same tokens'},
        this.same ? row.similarity === null ? '' : fixed(row.similarity) : fixed(row.cosine), el('small', {}, row.shared === null || this.same ? '' : row.shared + '/' + row.compared)),
      row.own ? this.side(row.own, 0, place) : el('span', {}), row.other ? this.side(row.other, 1, place) : el('span', {}),
      el('span', {class: 'num change ' + row.change, title: row.change ? row.change + ' there, beyond chance' : 'difference of grade'},
        row.difference === null ? '' : (row.difference > 0 ? '+' : '') + fixed(row.difference), row.change ? el('small', {}, row.change) : null));
  }

  side(unit, side, place) {
    return el('a', {class: side ? 'other' : 'own', href: addressOf(unit.unit_id, this.sides[side].base), onclick: () => history.replaceState({place}, '')},
      el('span', {class: 'id'}, el('i', {}), unit.unit_id),
      unit.explanation === null ? el('span', {class: 'explanation none'}, unexplained(unit)) : el('span', {class: 'explanation', dir: 'auto', title: visible(unit.explanation)}, visible(unit.explanation)),
      el('span', {class: 'num density', title: rate(unit.density)}, short(unit.density)), unit.grade === null ? el('span', {}) : grade(unit.grade));
  }

  // Keys.
  select(place) {
    if (!this.list.n) return;
    this.list.drawn.get(this.active)?.classList.remove('active');
    this.active = Math.max(0, Math.min(this.list.n - 1, place));
    this.list.reveal(this.active);
    const row = this.list.drawn.get(this.active);
    row?.classList.add('active');
    (row?.querySelector('a') ?? $('list')).focus({preventScroll: true});
  }
  enter() { $('matched').scrollIntoView({block: 'start'}); this.select(this.active); }
  move(step) { if (document.activeElement?.closest('.pair-row')) this.select(this.active + step); else this.enter(); }
  openOther() { const row = this.list.drawn.get(this.active); /** @type {HTMLElement | null} */ (row?.querySelector('a.other') ?? null)?.click(); }
  focusSearch() { $('matched').scrollIntoView({block: 'start'}); $('text').focus(); $('text').select(); }
  choose(place) { const input = $('lists').querySelectorAll('input')[place]; if (input) { input.checked = true; input.focus(); this.search(); } }
}
