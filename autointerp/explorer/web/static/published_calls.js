// The judgements of a run in a published folder: found and sorted in the browser as by the server: autointerp/explorer/items/.
import {fetchData, fetchEntry, fetchNumbers} from './published_files.js';
import {MOST_CHARACTERS, quoted} from './published_query.js';

const MOST_WORDS = 8, READ_MS = 300, REMEMBERED = 8;  // words of a search; how long one answer reads; searches
const FILTERS = ['kind', 'state', 'arm', 'unit', 'judge'], SORTS = ['cost', 'time', 'at', 'grade', 'tokens'];
const REASON = 300, BEFORE = 12, AFTER = 24;  // characters, and tokens around the mark, that a list shows

/** A search as its address writes it. @param {URLSearchParams} given */
const queryOf = given => {
  const of = given.get('of') || 'items', text = (given.get('q') ?? '').trim(), sort = given.get('sort') ?? '', grade = given.get('grade') ?? '';
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  if (of !== 'items' && of !== 'calls') throw new Error('of=' + quoted(of) + ' is neither items nor calls: give one, or leave it out');
  if ([...text].length > MOST_CHARACTERS || words.length > MOST_WORDS) throw new Error('a search has at most ' + MOST_WORDS + ' words and ' + MOST_CHARACTERS + ' characters: shorten it');
  if (sort && !SORTS.includes(sort.replace(/^-/, ''))) throw new Error('sort=' + quoted(sort) + ' is none of ' + SORTS.join(', ') + ': name one, with - for descending');
  if (grade && !/^\d{1,3}$/.test(grade)) throw new Error('grade=' + quoted(grade) + ' is no grade: give a whole number');
  return {of, words: [...new Set(words)], filters: FILTERS.map(name => [name, given.get(name) ?? '']).filter(([, wanted]) => wanted), grade, sort};
};

/** A search for words, a part of the files at each answer. A word is a bit of a number. */
class WordSearch {
  /** @param {PublishedCalls} calls @param {string} of @param {string[]} words @param {number} n rows @param {any} about */
  constructor(calls, of, words, n, about) {
    Object.assign(this, {calls, of, words});
    this.all = (1 << words.length) - 1;
    this.rows = new Uint8Array(n);
    /** @type {Map<number, number>} */
    this.asked = new Map();
    this.read = 0;
    this.left = [...starts(n, about.parts.cards.entries).map(first => [of + '/cards/', about.parts.cards, first, n]),
      ...starts(about.texts.n, about.parts.texts.entries).map(first => ['texts/', about.parts.texts, first, about.texts.n])];
    this.to_read = n + about.texts.n;
  }

  bits(...texts) {
    const text = texts.filter(Boolean).join('\n').toLowerCase();
    return this.words.reduce((bits, word, i) => text.includes(word) ? bits | 1 << i : bits, 0);
  }

  async goOn() {
    const until = performance.now() + READ_MS;
    while (this.left.length && performance.now() < until) {
      const [path, parts, first, n] = this.left[0], last = Math.min(n, first + parts.entries);
      const entries = await Promise.all(Array.from({length: last - first}, (_, i) => fetchEntry(this.calls.place + path, parts, first + i, 'large')));
      if (this.left[0]?.[0] !== path || this.left[0][2] !== first) continue;  // another answer has read it meanwhile
      this.left.shift();
      this.read += entries.length;
      if (path === 'texts/') for (const call of entries) this.asked.set(call.call_id, this.bits(call.user, call.reply));
      else entries.forEach((card, i) => { this.rows[first + i] = this.bits(card.reason, card.answer, card.unit_id, card.explanation, card.window?.tokens.join('')); });
    }
  }

  /** @param {number} row @param {number} call */
  has(row, call) { return (this.rows[row] | (this.asked.get(call) ?? 0)) === this.all; }
}
const starts = (n, size) => Array.from({length: Math.ceil(n / size)}, (_, i) => i * size);

export class PublishedCalls {
  /** @param {string} place the folder of its files */
  constructor(place) {
    this.place = place;
    this.about = fetchData(place + 'about.json.gz');
    this.about.catch(() => {});
    /** @type {Map<string, WordSearch>} */
    this.searches = new Map();
  }

  numbers(of, name) { return fetchNumbers(this.place + of + '/' + name + '.gz', 'f8'); }

  ids(of) { return fetchData(this.place + of + '/ids.json.gz'); }

  /** What a list shows of the items that a search finds, and how much of the texts was read for it. @param {URLSearchParams} given @param {number} most */
  async rows(given, most) {
    const query = queryOf(given), about = await this.about, first = Number(given.get('from') ?? 0);
    const {found, read, to_read} = await this.find(query);
    const shown = found.slice(first, first + Math.min(most, Number(given.get('limit') ?? 100)));
    return {n: found.length, of: about[query.of].n, read, to_read, facets: about[query.of].facets, rows: await Promise.all(shown.map(row => this.card(query.of, row))),
      has_calls: about.has_calls, missing: about.missing, live: false};
  }

  /** The rows that a search finds, in its order. */
  async find({of, words, filters, grade, sort}) {
    const about = await this.about, {n, values} = about[of];
    let found = [...Array(n).keys()];
    for (const [name, wanted] of filters) {
      const codes = await fetchNumbers(this.place + of + '/' + name + '.gz', values[name].kind), {texts} = values[name];
      const code = texts.indexOf(name === 'state' && wanted === 'unscored' ? 'scored' : wanted);
      found = found.filter(row => name === 'state' && wanted === 'unscored' ? codes[row] !== code : codes[row] === code);
    }
    if (grade) { const grades = await this.numbers(of, 'grade'); found = found.filter(row => grades[row] === Number(grade)); }
    const search = words.length ? await this.search(of, words, n, about) : null;
    if (search) { const calls = await this.numbers(of, 'call'); found = found.filter(row => search.has(row, calls[row])); }
    if (sort) {
      const numbers = await this.numbers(of, sort.replace(/^-/, '')), sign = sort.startsWith('-') ? -1 : 1;
      found.sort((a, b) => {  // without a value last, and equal ones in their order
        const [x, y] = [numbers[a], numbers[b]];
        return Number.isNaN(x) || Number.isNaN(y) ? Number(Number.isNaN(x)) - Number(Number.isNaN(y)) || a - b : sign * (x - y) || a - b;
      });
    }
    return {found, read: search?.read ?? 0, to_read: search?.to_read ?? 0};
  }

  async search(of, words, n, about) {
    const key = JSON.stringify([of, words]), search = this.searches.get(key) ?? new WordSearch(this, of, words, n, about);
    this.searches.delete(key);
    this.searches.set(key, search);
    if (this.searches.size > REMEMBERED) this.searches.delete(this.searches.keys().next().value);
    await search.goOn();
    return search;
  }

  async entry(of, kind, row) { return fetchEntry(this.place + of + '/' + kind + '/', (await this.about).parts[kind], row, 'large'); }

  /** An item as a list shows it. @param {string} of @param {number} row */
  async card(of, row) {
    const {window, explained_unit, ...card} = await this.entry(of, 'cards', row), first = window ? Math.max(0, window.mark - BEFORE) : 0;
    return {...card, reason: [...card.reason].slice(0, REASON).join(''), window: window && {tokens: window.tokens.slice(first, window.mark + AFTER + 1), mark: window.mark - first}};
  }

  /** @param {string} id @returns {Promise<[string, number]>} whether an id is that of an item or a call, and its row */
  async placeOf(id) {
    const of = id.startsWith('call-') ? 'calls' : 'items', row = (await this.ids(of)).indexOf(id);
    if (row < 0) throw new Error('the run has no item \u2018' + id.slice(0, 80) + '\u2019');
    return [of, row];
  }

  /** Everything that is stored of an item, and its place in a search. @param {string} id @param {URLSearchParams} given */
  async item(id, given) {
    const [of, row] = await this.placeOf(id), about = await this.about;
    const [{window, explained_unit, ...item}, {calls: ids, main: mainId, others}] = await Promise.all([this.entry(of, 'cards', row), this.entry(of, 'details', row)]);
    const [calls, results] = await Promise.all([Promise.all(ids.map(each => this.call(each))), Promise.all(others.map(other => this.card('items', other)))]);
    const main = calls.find(call => call.call_id === mainId);
    return {
      item, meaning: about.states[item.state] ?? item.state, arm_meaning: about.arms[item.arm] ?? item.arm, explained_unit, window,
      prompt: main ? {system: main.system, user: main.user} : null, main: mainId, results, missing: about.missing,
      calls: calls.map(call => ({...call, system: call.system === main.system ? null : call.system, user: call.user === main.user ? null : call.user})),
      within: await this.within(queryOf(given), of, row),
    };
  }

  async within(query, of, row) {
    const {found} = await this.find(query), ids = await this.ids(query.of), place = of === query.of ? found.indexOf(row) : -1;
    return {n: found.length, place: place < 0 ? null : place, previous: ids[found[place < 0 ? -1 : place - 1]] ?? null, next: ids[found[place + 1]] ?? null};
  }

  /** A call with its prompt and reply. @param {number} id */
  async call(id) {
    const {texts, parts} = await this.about, ids = await fetchNumbers(this.place + 'texts/ids.gz', texts.kind);
    return fetchEntry(this.place + 'texts/', parts.texts, ids.indexOf(id), 'large');
  }

  /** The question of an item as it was made again when the folder was published. @param {string} id */
  async rebuilt(id) {
    const {made} = await this.entry(...await this.detailOf(id));
    return 'as' in made ? (await this.entry('items', 'details', made.as)).made : made;
  }

  async detailOf(id) { const [of, row] = await this.placeOf(id); return [of, 'details', row]; }
}
