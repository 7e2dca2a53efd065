// Answers for a published folder: searches by the index in its files, and everything else from the file of its address.
import {fetchData} from './published_files.js';
import {listsOf, noteOf} from './published_notes.js';
import {PublishedCalls} from './published_calls.js';
import {PublishedIndex} from './published_index.js';
import {PublishedPairs} from './published_pairs.js';

const MOST_ROWS = 200;
/** @type {Map<string, PublishedIndex>} */
const open = new Map();
const indexAt = place => open.get(place) ?? open.set(place, new PublishedIndex(place)).get(place);

/** @type {Map<string, PublishedPairs>} */
const compared = new Map();
const pairsOf = async (place, run) => {
  const path = place + 'compare/' + encodeURIComponent(run) + '/', known = compared.get(path);
  if (known) return known;
  const about = await fetchData(path + 'about.json.gz');
  const there = new URL('../' + about.sides[1].base + 'data/', new URL(place, location.href)).pathname;
  const made = new PublishedPairs(path, about, [indexAt(place), indexAt(there)]);
  return compared.set(path, made) && made;
};

/** @type {Map<string, PublishedCalls>} */
const judged = new Map();
const callsAt = place => judged.get(place) ?? judged.set(place, new PublishedCalls(place + 'calls/')).get(place);

const rows = async (index, given) => {
  const found = await index.find(given), first = Number(given.get('from') ?? 0);
  const shown = found.subarray(first, first + Math.min(MOST_ROWS, Number(given.get('limit') ?? 100)));
  return {n: found.length, of: (await index.about).n, rows: await Promise.all([...shown].map(async row => (await index.entry('cards', row)).card))};
};
const strongest = async (index, given) => Object.fromEntries(await Promise.all(given.get('rows').split(',').map(async row => [row, (await index.entry('cards', Number(row))).strongest])));
const features = async (index, given) => {
  const [found, about] = await Promise.all([index.find(given), index.about]);
  return {rows: [...found].filter(row => row < about.features)};
};
const unit = async (index, given, id) => {
  const ids = await index.ids, row = ids.indexOf(id);
  if (row < 0) throw new Error('the index has no unit \u2018' + id.slice(0, 80) + '\u2019');
  const [whole, found] = await Promise.all([index.entry('units', row), index.find(given)]);
  const place = found.indexOf(row);
  return {...whole, within: {n: found.length, place: place < 0 ? null : place, previous: ids[found[place < 0 ? -1 : place - 1]] ?? null, next: ids[found[place + 1]] ?? null}};
};

const elsewhere = async (index, id) => {
  const row = (await index.ids).indexOf(id);
  return row < 0 ? [] : (await index.entry('units', row)).elsewhere ?? [];
};

/** The JSON that a server would answer with. @param {string} path */
export const answer = async path => {
  const url = new URL(path, location.href), at = url.pathname.lastIndexOf('/api/');
  const place = url.pathname.slice(0, at) + '/data/', asked = url.pathname.slice(at + '/api/'.length), given = url.searchParams;
  if (asked === 'rows') return rows(indexAt(place), given);
  if (asked === 'strongest') return strongest(indexAt(place), given);
  if (asked.startsWith('units/')) return unit(indexAt(place), given, decodeURIComponent(asked.slice('units/'.length)));
  if (asked === 'compare') return given.get('with') ? (await pairsOf(place, given.get('with'))).about : fetchData(place + 'compare/runs.json.gz');
  if (asked === 'compare/rows') return (await pairsOf(place, given.get('with') ?? '')).rows(given, MOST_ROWS);
  if (asked.startsWith('elsewhere/')) return elsewhere(indexAt(place), decodeURIComponent(asked.slice('elsewhere/'.length)));
  if (asked === 'lists') return listsOf(place, given.get('unit'));
  if (asked.startsWith('notes/')) return noteOf(place, decodeURIComponent(asked.slice('notes/'.length)));
  if (asked === 'found') return features(indexAt(place), given);
  if (asked === 'calls') return callsAt(place).rows(given, MOST_ROWS);
  if (asked.startsWith('calls/')) {
    const [, id, part] = asked.split('/').map(decodeURIComponent);
    return part === 'rebuilt' ? callsAt(place).rebuilt(id) : callsAt(place).item(id, given);
  }
  if (asked === 'events') return [];  // they are not published
  const known = await fetchData(place + 'api/' + fileOf(asked, url.search));
  if (known?.error) throw new Error(known.error);  // what the explorer would answer, such as that an index has no map
  return known;
};

/** The file of an address: autointerp/explorer/publishing/answers.py names it in the same way. */
const fileOf = (asked, search) => (asked + search).replace(/[^A-Za-z0-9._/-]+/g, '-') + '.json.gz';
