// A list of any length, of which only the rows on the screen are elements.

const TALLEST = 8_000_000;  // pixels; browsers do not draw elements that are much taller
const MORE = 4;             // rows drawn above and below the screen

/** Rows of one height in a scrolling element. `draw(place)` returns the element of a row; `shown(first, last)` is called after every change.
 * Beyond the tallest element, the rows are moved against the scroll bar as it moves: a small scroll moves by its own distance, a jump by its
 * share of the list (the method of SlickGrid). */
export class VirtualList {
  /** @param {HTMLElement} scroller @param {HTMLElement} rows @param {(place: number) => HTMLElement} draw @param {(first: number, last: number) => void} shown */
  constructor(scroller, rows, draw, shown) {
    Object.assign(this, {scroller, rows, draw, shown});
    this.n = 0;
    this.offset = 0;
    this.before = 0;
    /** @type {Map<number, HTMLElement>} */
    this.drawn = new Map();
    scroller.addEventListener('scroll', () => this.scrolled(), {passive: true});
    new ResizeObserver(() => this.measure()).observe(scroller);
  }

  /** Show `n` other rows, from place `top` on. */
  reset(n, top = 0) {
    this.n = n;
    this.forget();
    this.measure();
    this.scrollTo(top * this.rowHeight);
    this.render();
  }

  /** Draw these rows again. */
  redraw(first, last) {
    for (const place of [...this.drawn.keys()]) if (place >= first && place < last) this.remove(place);
    this.render();
  }

  measure() {
    this.rowHeight = parseFloat(getComputedStyle(this.rows).getPropertyValue('--row')) * parseFloat(getComputedStyle(document.documentElement).fontSize);
    this.total = this.n * this.rowHeight;
    this.height = Math.min(this.total, TALLEST);
    this.pageHeight = this.height / 100;
    this.pages = this.total > this.height ? Math.floor(this.total / this.pageHeight) : 1;
    this.jump = this.pages > 1 ? (this.total - this.height) / (this.pages - 1) : 0;
    this.rows.style.height = this.height + 'px';
    if (this.rowHeight !== this.drawnHeight) this.forget();
    this.drawnHeight = this.rowHeight;
    this.render();
  }

  /** Places from the first row on the screen to the one after the last. */
  range() {
    const top = this.scroller.scrollTop + this.offset;
    const first = Math.floor(top / this.rowHeight);
    return [Math.max(0, first), Math.min(this.n, Math.ceil((top + this.scroller.clientHeight) / this.rowHeight))];
  }

  /** Scroll as little as needed to have a row on the screen. */
  reveal(place) {
    const top = this.scroller.scrollTop + this.offset, y = place * this.rowHeight, room = this.scroller.clientHeight;
    if (y < top) this.scrollTo(y);
    else if (y + this.rowHeight > top + room) this.scrollTo(y + this.rowHeight - room);
    this.render();
  }

  scrollTo(y) {
    const wanted = Math.max(0, Math.min(y, this.total - this.scroller.clientHeight));
    this.move(Math.min(this.pages - 1, Math.floor(wanted / (this.pageHeight || 1))));
    this.before = Math.round(wanted - this.offset);
    this.scroller.scrollTop = this.before;
  }

  scrolled() {
    const top = this.scroller.scrollTop, room = this.scroller.clientHeight;
    if (this.pages > 1) {
      if (Math.abs(top - this.before) < room) this.scrollTo(top + this.offset);
      else this.move(Math.min(this.pages - 1, Math.floor(top * ((this.total - room) / (this.height - room)) / this.pageHeight)));
    }
    this.before = this.scroller.scrollTop;
    this.render();
  }

  move(page) {
    const offset = Math.round(page * this.jump);
    if (offset !== this.offset) this.forget();
    this.offset = offset;
  }

  render() {
    const [first, last] = this.range();
    const from = Math.max(0, first - MORE), to = Math.min(this.n, last + MORE);
    for (const place of [...this.drawn.keys()]) if (place < from || place >= to) this.remove(place);
    for (let place = from; place < to; place++) {
      if (this.drawn.has(place)) continue;
      const row = this.draw(place);
      row.style.transform = 'translateY(' + (place * this.rowHeight - this.offset) + 'px)';
      row.setAttribute('aria-posinset', String(place + 1));
      row.setAttribute('aria-setsize', String(this.n));
      const below = [...this.drawn.keys()].filter(other => other > place);
      this.rows.insertBefore(row, below.length ? this.drawn.get(Math.min(...below)) ?? null : null);
      this.drawn.set(place, row);
    }
    this.shown(from, to);
  }

  forget() { for (const place of [...this.drawn.keys()]) this.remove(place); }

  remove(place) { this.drawn.get(place)?.remove(); this.drawn.delete(place); }
}
