// The index of a published folder: searches in the browser that find what the server finds, in its order: autointerp/explorer/search/reader.py.
import {fetchData, fetchEntry, fetchNumbers} from './published_files.js';
import {notedIn, unitsOf} from './published_notes.js';
import {MATCH, queryOf} from './published_query.js';

const REMEMBERED = 16;  // searches
const MARKED_WEIGHT = 0.75, PROMOTED_WEIGHT = 0.5;
const f = Math.fround;  // scores are numbers of 32 bits, as on the server, so that equal ones stay equal

/** The words of a text in small letters. @param {string} text */
const wordsIn = text => [...text].map(character => [...character.toLowerCase()][0]).join('').match(/[\p{L}\p{N}\p{M}_]+/gu) ?? [];

/** Many texts as numbered words. */
class Texts {
  /** @param {string} path @param {{words: string, lengths: string}} kinds */
  static async at(path, kinds) {
    const [vocabulary, lengths, words] = await Promise.all([fetchData(path + '.json.gz'), fetchNumbers(path + '.lengths.gz', kinds.lengths), fetchNumbers(path + '.words.gz', kinds.words)]);
    return Object.assign(new Texts(), {vocabulary, lengths, words});
  }

  /** For each text whether it has a word that begins so (1), or the whole word (2). @param {string} word */
  withWord(word) {
    const fits = Uint8Array.from(this.vocabulary, known => known === word ? 2 : known.startsWith(word) ? 1 : 0);
    const found = new Uint8Array(this.lengths.length);
    for (let text = 0, at = 0; text < found.length; text++) {
      for (const end = at + this.lengths[text]; at < end; at++) if (fits[this.words[at]] > found[text]) found[text] = fits[this.words[at]];
    }
    return found;
  }

  /** The sum of a value of its words, for each text. @param {Float32Array} values */
  sums(values) {
    const sums = new Float32Array(this.lengths.length);
    for (let text = 0, at = 0; text < sums.length; text++) {
      for (const end = at + this.lengths[text]; at < end; at++) sums[text] += values[this.words[at]];
    }
    return sums;
  }
}

export class PublishedIndex {
  /** @param {string} place the folder of its data */
  constructor(place) {
    this.place = place;
    this.about = fetchData(place + 'about.json.gz');
    this.ids = this.about.then(() => fetchData(place + 'ids.json.gz'));
    this.ids.catch(() => {});
    /** @type {Map<string, Promise<Int32Array>>} */
    this.found = new Map();
  }

  /** @param {string} name */
  async column(name) {
    const {columns, n} = await this.about;
    return columns[name] === 'row' ? Int32Array.from({length: n}, (_, row) => row) : fetchNumbers(this.place + 'columns/' + name + '.gz', columns[name]);
  }

  async texts(name) { return Texts.at(this.place + 'texts/' + name, (await this.about).texts[name]); }

  /** The rows that a search finds, in its order. @param {URLSearchParams} given */
  async find(given) {
    const {sortable} = await this.about, query = queryOf(given, sortable), key = JSON.stringify(query);
    const known = this.found.get(key) ?? this.search(query);
    known.catch(() => this.found.delete(key));
    this.found.set(key, known);
    if (this.found.size > REMEMBERED) this.found.delete(this.found.keys().next().value);
    return known;
  }

  /** The rows of units, without those that the index lacks. @param {string[]} units */
  async rowsOf(units) {
    const rows = new Map((await this.ids).map((id, row) => [id, row]));
    return units.map(id => rows.get(id) ?? -1).filter(row => row >= 0);
  }

  async search(query) {
    const {n} = await this.about;
    const listed = query.list === null ? null : await this.rowsOf(await unitsOf(this.place, query.list));
    const kept = new Uint8Array(n).fill(1);
    const keep = fits => { for (let row = 0; row < n; row++) if (kept[row] && !fits(row)) kept[row] = 0; };
    if (query.kind >= 0) { const kind = await this.column('kind'); keep(row => kind[row] === query.kind); }
    if (query.explained !== '') { const explained = await this.column('explained'); keep(row => Boolean(explained[row]) === query.explained); }
    for (const [name, low, high] of query.ranges) {
      const values = await this.column(name), exact = values instanceof Float32Array ? f : Number;
      const [least, most] = [low === null ? -Infinity : exact(low), high === null ? Infinity : exact(high)];
      keep(row => values[row] >= least && values[row] <= most);
    }
    if (query.rows.length) {
      const among = new Uint8Array(n);
      for (const [first, last] of query.rows) among.fill(1, first, last + 1);
      keep(row => among[row]);
    }
    if (query.noted !== '') { const noted = new Set(await this.rowsOf(await notedIn(this.place))); keep(row => noted.has(row) === query.noted); }
    if (listed) { const among = new Set(listed); keep(row => among.has(row)); }
    if (listed && query.plain) return Int32Array.from(listed.filter(row => kept[row]));  // a list without another order has its own
    const score = new Float32Array(n);
    for (const [text, fits] of [[query.words, this.fitsWords], [query.meaning, this.fitsMeaning]]) {
      if (!text) continue;
      const own = await fits.call(this, text);
      keep(row => !Number.isNaN(own[row]));
      for (let row = 0; row < n; row++) score[row] += own[row];
    }
    const rows = Int32Array.from({length: kept.reduce((sum, one) => sum + one, 0)});
    for (let row = 0, at = 0; row < n; row++) if (kept[row]) rows[at++] = row;
    if (query.sort === 'row' && !query.descending) return rows;
    const values = query.sort === MATCH ? score : await this.column(query.sort), sign = query.descending || query.sort === MATCH ? -1 : 1;
    return rows.sort((a, b) => {  // without a value last, and equal ones in their order
      const [x, y] = [values[a], values[b]];
      return Number.isNaN(x) || Number.isNaN(y) ? Number(Number.isNaN(x)) - Number(Number.isNaN(y)) || a - b : sign * (x - y) || a - b;
    });
  }

  async explainedRows() {
    const explained = await this.column('explained');
    return [...explained.keys()].filter(row => explained[row]);
  }

  /** The score of each unit, NaN for one without every word of a text. @param {string} text */
  async fitsWords(text) {
    const words = wordsIn(text);
    if (!words.length) throw new Error("'" + text.slice(0, 40) + "' has no word to search for: give one");
    const [promoted, marked, explanations, rows, {n}] = await Promise.all([this.texts('promoted'), this.texts('marked'), this.texts('explanations'), this.explainedRows(), this.about]);
    const score = new Float32Array(n);
    for (const word of words) {
      const own = new Float32Array(n);
      for (const [tokens, weight] of [[promoted, PROMOTED_WEIGHT], [marked, MARKED_WEIGHT]]) tokens.withWord(word).forEach((fits, row) => { if (fits) own[row] = weight; });
      explanations.withWord(word).forEach((fits, place) => { if (fits) own[rows[place]] = Math.max(own[rows[place]], f(fits + f(1 / explanations.lengths[place]))); });
      for (let row = 0; row < n; row++) score[row] = own[row] > 0 ? score[row] + own[row] : NaN;
    }
    return score;
  }

  /** How similar each explanation is to a text; NaN for a unit without one. @param {string} text */
  async fitsMeaning(text) {
    const {n, meaning} = await this.about;
    if (!meaning) throw new Error('no unit of this dictionary has an explanation: search for words');
    const path = this.place + 'meaning/';
    const [explanations, rows, words, vectors, scales, common, lengths, rests] = await Promise.all([this.texts('explanations'), this.explainedRows(), fetchData(path + 'words.json.gz'),
      fetchNumbers(path + 'vectors.gz', 'i1'), ...['scales', 'common', 'lengths', 'rests'].map(name => fetchNumbers(path + name + '.gz', 'f4'))]);
    const size = common.length, numbers = new Map(words.map((word, number) => [word, number]));
    const own = new Float64Array(size);
    for (const word of wordsIn(text)) if (numbers.has(word)) { const number = numbers.get(word); for (let i = 0; i < size; i++) own[i] += scales[number] * vectors[number * size + i]; }
    const dot = (a, b) => a.reduce((sum, value, i) => sum + value * b[i], 0);
    const scaled = by => { for (let i = 0; i < size; i++) own[i] *= by; };
    if (!dot(own, own)) throw new Error("'" + text.slice(0, 40) + "' has no word whose meaning this published copy knows: give another");
    scaled(1 / Math.sqrt(dot(own, own)));
    const along = dot(own, common);
    for (let i = 0; i < size; i++) own[i] -= common[i] * along;
    scaled(1 / Math.max(Math.sqrt(dot(own, own)), 1e-9));
    const shared = dot(own, common);
    const alone = Float32Array.from(explanations.vocabulary, (_, number) => {  // the first words are those of explanations
      let sum = 0;
      for (let i = 0; i < size; i++) sum += vectors[number * size + i] * own[i];
      return sum * scales[number];
    });
    const score = new Float32Array(n).fill(NaN);
    explanations.sums(alone).forEach((sum, place) => { score[rows[place]] = (sum / lengths[place] - shared) / rests[place]; });
    return score;
  }

  /** An entry of one of the files that hold some units each. @param {string} kind @param {number} row */
  async entry(kind, row) {
    return fetchEntry(this.place + kind + '/', (await this.about).parts[kind], row, kind === 'units' ? 'large' : 'small');
  }
}
