// The tokens of a text, coloured by a feature, and the features that are active in it.
import {$, addressOf, el, percent, rate, short, token, unexplained, visible} from './dom.js';
import {level} from './heat.js';

/** What a feature answers to, in a line; without an explanation the tokens, of which a `brief` line has those at which it is strongest. */
export const name = (unit, brief = false) => unit.explanation === null
  ? el('span', brief ? {class: 'explanation none', title: 'tokens at which it is strongest'} : {class: 'explanation none'}, brief && unit.marked.length ? unit.marked.map(each => [token(each), ' ']) : unexplained(unit))
  : el('span', {class: 'explanation', dir: 'auto'}, visible(unit.explanation));
export const linkTo = (unit, words = unit.unit_id) => el('a', {class: 'id', href: addressOf(unit.unit_id)}, words);
const ORDERS = {share: (a, b) => b.share - a.share, sum: (a, b) => b.sum - a.sum, density: (a, b) => a.density - b.density};
const SHOWN = 40, FIRST = 14;

export class Reading {
  /** `changed()` after a choice of the reader, `set(unit)` to set a feature, `isSet(id)`. */
  constructor(page) {
    this.page = page;
    this.answer = null;
    this.chosen = '';   // the feature that colours the text; empty for the strongest one
    this.place = -1;
    this.whole = false;  // whether the list is shown to its end
    for (const id of ['order', 'frequent']) $(id).addEventListener('change', () => { this.drawList(); this.drawTokens(); page.changed(); });
    $('tokens').addEventListener('focusin', event => this.pick(event));
    $('tokens').addEventListener('mouseover', event => this.pick(event));
  }

  write(given) {
    if (this.chosen) given.set('colour', this.chosen);
    if ($('order').value !== 'share') given.set('order', $('order').value);
    if ($('frequent').checked) given.set('frequent', '1');
  }

  read(given) {
    this.chosen = given.get('colour') ?? '';
    $('order').value = given.get('order') in ORDERS ? given.get('order') : 'share';
    $('frequent').checked = given.has('frequent');
  }

  /** Units of which the text's activations are needed whether or not they are among the strongest. */
  wanted() { return this.chosen ? [this.chosen] : []; }

  show(answer) {
    this.answer = answer;
    this.units = new Map((answer?.units ?? []).map(unit => [unit.row, unit]));
    this.place = Math.min(this.place, (answer?.tokens.length ?? 0) - 1);
    this.drawTokens();
    this.drawList();
  }

  listed() {
    const order = ORDERS[$('order').value], frequent = $('frequent').checked;
    return (this.answer?.units ?? []).filter(unit => unit.share > 0 && (frequent || !unit.frequent)).sort(order).slice(0, SHOWN);
  }

  /** The feature that colours the text: the chosen one, else the strongest with an explanation, else the strongest. */
  colour() {
    const units = this.answer?.units ?? [], named = units.find(unit => unit.unit_id === this.chosen);
    const some = units.filter(unit => unit.share > 0 && !unit.frequent).sort(ORDERS.share);
    return named ?? some.find(unit => unit.explanation !== null) ?? some[0] ?? null;
  }

  colourBy(id) { this.chosen = this.chosen === id ? '' : id; this.drawTokens(); this.drawList(); this.page.changed(); }

  drawTokens() {
    const unit = this.colour(), {tokens = [], counted = []} = this.answer ?? {};
    const values = new Array(tokens.length).fill(0);
    unit?.at[0].forEach((place, i) => { values[place] = unit.at[1][i]; });
    const focused = $('tokens').contains(document.activeElement);
    if (this.place < 0 && tokens.length) this.place = values.indexOf(Math.max(...values));
    const most = unit ? unit.maximum || Math.max(...values) : 1;
    $('tokens').replaceChildren(...tokens.flatMap((each, place) => {
      const [, space, words] = /** @type {RegExpMatchArray} */ (visible(each).match(/^( *)([^]*)$/));
      const option = el('span', {class: 'tok h' + level(values[place], most) + (counted[place] ? '' : ' uncounted'), role: 'option', tabindex: place === Math.max(0, this.place) ? 0 : -1, 'data-place': place,
        'aria-selected': place === this.place ? 'true' : 'false', title: counted[place] ? values[place] ? short(values[place]) : null : 'not counted: no evidence of any feature'}, words || (space ? '\u2423' : '\u25cc'));
      return [words || place ? space : '', option, each.includes('\n') ? el('br') : ''];
    }));
    if (focused) this.tokenAt(Math.max(0, this.place))?.focus();
    $('legend').replaceChildren(...(unit ? ['coloured by ', linkTo(unit), ' ', name(unit), el('span', {class: 'scale', 'aria-hidden': 'true'}, el('span', {}, '0'), [1, 3, 5, 7, 9].map(n => el('i', {class: 'h' + n})), el('span', {}, short(unit.maximum)))]
      : [this.answer?.n_active ? '' : 'No feature is active at the tokens that count.']));
    this.drawAt();
  }

  tokenAt(place) { return /** @type {HTMLElement | null} */ ($('tokens').querySelector('[data-place="' + place + '"]')); }
  focusToken() { const found = this.tokenAt(Math.max(0, this.place)); if (found) found.focus(); else $('text').blur(); }
  step(by) { this.tokenAt(Math.max(0, Math.min((this.answer?.tokens.length ?? 1) - 1, this.place + by)))?.focus(); }

  pick(event) {
    const place = Number(event.target.dataset?.place ?? -1);
    if (place < 0 || place === this.place) return;
    const before = this.tokenAt(this.place), now = this.tokenAt(place);
    before?.setAttribute('aria-selected', 'false');
    $('tokens').querySelector('[tabindex="0"]')?.setAttribute('tabindex', '-1');
    now?.setAttribute('aria-selected', 'true');
    now?.setAttribute('tabindex', '0');
    this.place = place;
    this.drawAt();
  }

  /** The strongest features of the token that is pointed at. */
  drawAt() {
    const {tokens = [], counted = [], top = []} = this.answer ?? {}, place = this.place;
    if (place < 0 || place >= tokens.length) { $('at').replaceChildren(); return; }
    const rows = top[place].map(row => this.units.get(row)).filter(Boolean);
    const share = unit => { const i = unit.at[0].indexOf(place); return unit.maximum > 0 ? unit.at[1][i] / unit.maximum : 1; };
    $('at').replaceChildren(el('p', {class: 'soft'}, 'at ', token(tokens[place]), counted[place] ? rows.length ? ', the strongest features, each by its share of its maximum' : ' no feature is active' : ' nothing is counted: its norm is massive, or it is special or the first'),
      el('ol', {class: 'others'}, rows.map(unit => el('li', {}, el('span', {class: 'num'}, percent(share(unit))), linkTo(unit), name(unit, true)))));
  }

  /** The list of active features. */
  drawList() {
    const all = this.listed(), units = this.whole ? all : all.slice(0, FIRST), colour = this.colour(), order = $('order').value;
    const focused = /** @type {HTMLElement | null} */ (document.activeElement?.closest('#active li'))?.dataset.unit;
    const most = Math.max(...units.map(unit => order === 'sum' ? unit.sum : unit.share), 1e-9);
    $('active').replaceChildren(...units.map(unit => {
      const bar = el('i', {}), set = this.page.isSet(unit.unit_id), is = colour === unit;
      bar.style.width = Math.min(100, 100 * (order === 'sum' ? unit.sum / most : unit.share)).toFixed(0) + '%';
      return el('li', {class: unit.kind + (is ? ' coloured' : ''), 'data-unit': unit.unit_id},
        el('span', {class: 'num', title: 'largest activation ' + percent(unit.share) + ' of its maximum ' + short(unit.maximum) + '; ' + rate(unit.density)}, order === 'sum' ? unit.sum.toFixed(1) : order === 'density' ? short(unit.density) : percent(unit.share), el('span', {class: 'bar'}, bar)),
        el('button', {type: 'button', class: 'colour', 'aria-pressed': String(is), title: 'colour the text by it', onclick: () => this.colourBy(unit.unit_id)}, name(unit, true)),
        linkTo(unit),
        el('button', {type: 'button', class: 'set', 'aria-pressed': String(set), 'aria-label': 'set ' + unit.unit_id, onclick: () => this.page.set(unit)}, 'set'));
    }));
    if (all.length > units.length) $('active').append(el('li', {}, el('button', {type: 'button', class: 'more', onclick: () => { this.whole = true; this.drawList(); this.buttonOf(all[FIRST].unit_id)?.focus(); }}, all.length - units.length + ' more')));
    if (!units.length) $('active').replaceChildren(el('li', {class: 'soft'}, 'none'));
    if (focused) this.buttonOf(focused)?.focus();
  }

  buttonOf(id) { return /** @type {HTMLElement | null} */ ($('active').querySelector('[data-unit="' + id + '"] .colour')); }

  /** Go to the next or the previous feature of the list. */
  move(by) {
    const items = [...$('active').querySelectorAll('li[data-unit]')], now = items.indexOf(document.activeElement?.closest('#active li'));
    /** @type {HTMLElement | null} */ (items[Math.max(0, Math.min(items.length - 1, now < 0 ? 0 : now + by))]?.querySelector('.colour'))?.focus();
  }

  /** Set the feature of the list that has the focus, else the one that colours the text. */
  setCurrent() {
    const id = /** @type {HTMLElement | null} */ (document.activeElement?.closest('#active li'))?.dataset.unit;
    const unit = this.answer?.units.find(each => each.unit_id === id) ?? this.colour();
    if (unit) this.page.set(unit);
  }
}
