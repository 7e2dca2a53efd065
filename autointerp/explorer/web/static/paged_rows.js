// The rows of a list, fetched by the hundred while they scroll into view.
import {fetchJson, problem} from './dom.js';

const PAGE = 100, KEPT = 200;  // rows in a request; pages kept
const pageOf = place => Math.floor(place / PAGE);

/** `address()` is where the rows of the present search are, an address with parameters; `arrived(first, last)` is called for rows that were missing. */
export class PagedRows {
  /** @param {() => string} address @param {(first: number, last: number) => void} arrived */
  constructor(address, arrived) {
    Object.assign(this, {address, arrived});
    this.n = 0;
    /** @type {Map<number, any[]>} */
    this.pages = new Map();
    /** @type {Map<number, AbortController>} */
    this.asked = new Map();
  }

  /** The row at a place; undefined while it is missing. */
  at(place) { return this.pages.get(pageOf(place))?.[place % PAGE]; }

  /** The answer of the search with the rows around a place. @returns {Promise<any>} */
  ask(place, signal) { return fetchJson(this.address() + '&from=' + pageOf(place) * PAGE + '&limit=' + PAGE, signal); }

  /** Have the rows of an answer, which are those around a place, and no others. */
  reset(answer, place) {
    for (const each of this.asked.values()) each.abort();
    this.asked.clear();
    this.pages.clear();
    this.n = answer.n;
    this.pages.set(pageOf(place), answer.rows);
  }

  /** Fetch the rows of these places and of half a page around them, and no longer any others. */
  need(first, last) {
    const wanted = new Set();
    for (let page = pageOf(Math.max(0, first - PAGE / 2)); page * PAGE < Math.min(this.n, last + PAGE / 2); page++) wanted.add(page);
    for (const [page, controller] of this.asked) if (!wanted.has(page)) { controller.abort(); this.asked.delete(page); }
    for (const page of wanted) if (!this.pages.has(page) && !this.asked.has(page)) this.load(page);
  }

  async load(page) {
    const controller = new AbortController(), of = this.address();
    this.asked.set(page, controller);
    try {
      const answer = await this.ask(page * PAGE, controller.signal);
      if (of !== this.address()) return;
      this.pages.set(page, answer.rows);
      if (this.pages.size > KEPT) this.pages.delete(this.pages.keys().next().value);
      this.arrived(page * PAGE, (page + 1) * PAGE);
    } catch (error) {
      if (!controller.signal.aborted) problem(error.message);
    } finally {
      if (this.asked.get(page) === controller) this.asked.delete(page);
    }
  }
}
