// A search as its address writes it, read as the server reads it: autointerp/explorer/search/query.py.
export const MOST_CHARACTERS = 300;
const KINDS = ['feature', 'neuron'], MOST_ROWS_CHARACTERS = 8000;
export const MATCH = 'match';
const NUMBER = /^\s*[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|inf|infinity)\s*$/i;
export const quoted = text => "'" + text.slice(0, 40) + "'";
const number = text => /inf/i.test(text) ? (text.trim().startsWith('-') ? -Infinity : Infinity) : Number(text);

/** Both ends of `0.1..0.5`, `0.1..` or `..0.5`, null for an open one. */
export const rangeOf = (name, written) => {
  const dots = written.indexOf('..');
  const ends = dots < 0 ? [] : [written.slice(0, dots), written.slice(dots + 2)];
  if (!ends.some(Boolean) || ends.some(end => end && !NUMBER.test(end))) throw new Error(name + '=' + quoted(written) + ' is no range: write LOW..HIGH, LOW.. or ..HIGH');
  return [name, ...ends.map(end => end ? number(end) : null)];
};

/** The first and last rows of `3,7-12`. */
const rowsOf = written => {
  if (written.length > MOST_ROWS_CHARACTERS) throw new Error('rows of ' + written.length.toLocaleString('en') + ' characters are too many: give at most ' + MOST_ROWS_CHARACTERS.toLocaleString('en'));
  const ranges = (written ? written.split(',') : []).map(part => /^(\d{1,9})(?:-(\d{1,9}))?$/.exec(part)).map(part => part && [Number(part[1]), Number(part[2] ?? part[1])]);
  if (ranges.some(range => !range || range[0] > range[1])) throw new Error('rows=' + quoted(written) + ' is no list of rows: write 3,7-12');
  return ranges;
};

/** @param {URLSearchParams} given @param {string[]} columns that can be filtered and sorted */
export const queryOf = (given, columns) => {
  const words = (given.get('q') ?? '').trim(), meaning = (given.get('meaning') ?? '').trim();
  for (const text of [words, meaning]) if ([...text].length > MOST_CHARACTERS) throw new Error('a search of ' + [...text].length + ' characters is too long: give at most ' + MOST_CHARACTERS);
  const [kind, explained, noted, list] = ['kind', 'explained', 'noted', 'list'].map(name => given.get(name) ?? '');
  if (kind && !KINDS.includes(kind)) throw new Error('kind=' + quoted(kind) + ' is none of ' + KINDS.join(', ') + ': name one, or leave it out');
  for (const [name, value] of [['explained', explained], ['noted', noted]]) if (value && value !== 'yes' && value !== 'no') throw new Error(name + '=' + quoted(value) + ' is neither yes nor no: give one, or leave it out');
  if (list && !/^\d{1,9}$/.test(list)) throw new Error('list=' + quoted(list) + ' is no number of a list: the page of lists has them');
  const sort = given.get('sort') || (words || meaning ? MATCH : 'row');
  let column = sort.replace(/^-/, '');
  if (column !== MATCH && !columns.includes(column)) throw new Error('sort=' + quoted(sort) + ' is no column: give one of ' + columns.join(', ') + ', with - for descending');
  if (column === MATCH && !words && !meaning) column = 'row';
  const query = {
    words, meaning, kind: KINDS.indexOf(kind), explained: explained && explained === 'yes', sort: column, descending: sort.startsWith('-') && column !== MATCH,
    noted: noted && noted === 'yes', list: list ? Number(list) : null, rows: rowsOf(given.get('rows') ?? ''),
    ranges: columns.filter(name => given.get(name)).map(name => rangeOf(name, given.get(name))),
  };
  const plain = !(words || meaning || kind || explained || query.ranges.length || query.rows.length) && query.sort === 'row' && !query.descending;
  return {...query, plain};
};
