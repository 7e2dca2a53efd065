// A comparison of a published folder: its lists in the browser, found and sorted as by the server: autointerp/explorer/comparison/listing.py.
import {fetchNumbers} from './published_files.js';
import {MOST_CHARACTERS, quoted, rangeOf} from './published_query.js';

const NONE = -1, REMEMBERED = 8;  // no feature; lists
const f = Math.fround;  // numbers of 32 bits, as on the server, so that equal ones stay equal
const known = value => Number.isNaN(value) ? null : value;

/** The values by which a list is sorted. */
const SORTS = {
  number: async list => { const [own, other] = await Promise.all([list.column('own'), list.column('other')]); return own.map((row, i) => row === NONE ? other[i] : row); },
  cosine: list => list.column('cosine'),
  change: async list => (await list.difference()).map(Math.abs),
  difference: list => list.difference(),
  similarity: list => list.column('similarity'),
  grade: list => list.value(0, 'grade'),
  'grade-other': list => list.value(1, 'grade'),
  density: list => list.value(0, 'density'),
  'density-other': list => list.value(1, 'density'),
  ratio: list => list.column('ratio'),
  rise: list => list.column('rise'),
};

/** One list of a comparison: pairs, or families of features. */
class List {
  /** @param {string} place the folder of its columns @param {{n: number, columns: Record<string, string>}} about @param {any[]} sides the indexes */
  constructor(place, about, sides) { Object.assign(this, {place, sides, n: about.n, columns: about.columns}); }

  column(name) { return fetchNumbers(this.place + name + '.gz', this.columns[name]); }

  /** A column of the index of a side for each entry, NaN without a feature there. @param {number} side @param {string} name */
  async value(side, name) {
    const [rows, values] = await Promise.all([this.column(side ? 'other' : 'own'), this.sides[side].column(name)]);
    return Float32Array.from(rows, row => row === NONE ? NaN : values[row]);
  }

  /** The grade there minus the grade here. */
  async difference() {
    const [own, other] = await Promise.all([this.value(0, 'grade'), this.value(1, 'grade')]);
    return own.map((grade, i) => f(other[i] - grade));
  }
}

export class PublishedPairs {
  /** @param {string} place the folder of its files @param {any} about what is said of it @param {any[]} sides its indexes */
  constructor(place, about, sides) {
    Object.assign(this, {place, about, sides});
    /** @type {Map<string, Promise<Int32Array>>} */
    this.found = new Map();
  }

  /** What a list shows of the entries that a search finds. @param {URLSearchParams} given @param {number} most */
  async rows(given, most) {
    const {matches} = this.about;
    if (!matches) throw new Error('the features of these two dictionaries cannot be matched: only distributions are compared');
    const query = this.query(given), list = new List(this.place + query.show + '/', matches.lists[query.show], this.sides);
    const found = await this.find(query, list), first = Number(given.get('from') ?? 0);
    const shown = [...found.subarray(first, first + Math.min(most, Number(given.get('limit') ?? 100)))];
    return {n: found.length, rows: await this.cards(list, shown)};
  }

  /** A list as the address of a page names it. @param {URLSearchParams} given */
  query(given) {
    const {lists, usual} = this.about.matches, show = given.get('show') || 'pairs', words = (given.get('q') ?? '').trim(), sort = given.get('sort') ?? '';
    if (!Object.hasOwn(lists, show)) throw new Error('show=' + quoted(show) + ' is no list: give one of ' + Object.keys(lists).join(', '));
    if ([...words].length > MOST_CHARACTERS) throw new Error('a search of ' + [...words].length + ' characters is too long: give at most ' + MOST_CHARACTERS);
    if (sort && !Object.hasOwn(SORTS, sort.replace(/^-/, ''))) throw new Error('sort=' + quoted(sort) + ' is no column: give one of ' + Object.keys(SORTS).join(', ') + ', with - for descending');
    const [, low, high] = given.get('cosine') ? rangeOf('cosine', given.get('cosine')) : ['', null, null];
    return {show, words, low, high, sort: sort || usual[show]};
  }

  /** The places of the entries that a search finds, in its order. */
  find(query, list) {
    const key = JSON.stringify(query), found = this.found.get(key) ?? this.search(query, list);
    found.catch(() => this.found.delete(key));
    this.found.set(key, found);
    if (this.found.size > REMEMBERED) this.found.delete(this.found.keys().next().value);
    return found;
  }

  async search(query, list) {
    const [own, other, cosine] = await Promise.all(['own', 'other', 'cosine'].map(name => list.column(name)));
    const kept = new Uint8Array(list.n).fill(1);
    const keep = fits => { for (let i = 0; i < list.n; i++) if (kept[i] && !fits(i)) kept[i] = 0; };
    if (query.low !== null) keep(i => cosine[i] >= f(query.low));
    if (query.high !== null) keep(i => cosine[i] <= f(query.high));
    if (query.words) {
      const [here, there] = await Promise.all(this.sides.map(async side => new Set(await side.find(new URLSearchParams({q: query.words})))));
      keep(i => here.has(own[i]) || there.has(other[i]));
    }
    if (list.columns.family) {  // a family stays together
      const families = await list.column('family'), some = new Set(families.filter((_, i) => kept[i]));
      return Int32Array.from([...families.keys()].filter(i => some.has(families[i])));
    }
    const values = await SORTS[query.sort.replace(/^-/, '')](list), sign = query.sort.startsWith('-') ? -1 : 1;
    return Int32Array.from([...kept.keys()].filter(i => kept[i])).sort((a, b) => {  // without a value last, and equal ones by their numbers
      const [x, y] = [values[a], values[b]], ties = own[a] - own[b] || other[a] - other[b];
      return Number.isNaN(x) || Number.isNaN(y) ? Number(Number.isNaN(x)) - Number(Number.isNaN(y)) || ties : sign * (x - y) || ties;
    });
  }

  async cards(list, places) {
    const names = ['own', 'other', 'cosine', 'similarity', 'shared', 'compared'];
    const [own, other, cosine, similarity, shared, compared] = await Promise.all(names.map(name => list.column(name)));
    const [difference, place] = await Promise.all([list.difference(), list.columns.place ? list.column('place') : null]);
    const card = async (side, row) => row === NONE ? null : (await this.sides[side].entry('cards', row)).card;
    return Promise.all(places.map(async i => {
      const [here, there] = await Promise.all([card(0, own[i]), card(1, other[i])]);
      return {own: here, other: there, cosine: known(cosine[i]), place: place ? place[i] : 0, difference: known(difference[i]), similarity: known(similarity[i]),
        change: here && this.about.matches.changed[here.unit_id] || '', shared: shared[i] === NONE ? null : shared[i], compared: shared[i] === NONE ? null : compared[i]};
    }));
  }
}
