// The files of a published folder, each fetched once. They are compressed with gzip, which hosts serve as it is or have unpacked already.
const STAMP = document.body.dataset.published;
const KEPT = {small: 300, large: 12};  // files

/** @type {Record<string, Map<string, Promise<any>>>} */
const fetched = {small: new Map(), large: new Map()};

const fetchBytes = async path => {
  let answer;
  try { answer = await fetch(path + '?' + STAMP); } catch { throw new Error('A file of this page cannot be fetched: check the connection, and load the page again.'); }
  if (!answer.ok) throw new Error(answer.status === 404 ? 'This published copy has no such data.' : 'The host answered with an error (' + answer.status + ').');
  const bytes = new Uint8Array(await answer.arrayBuffer());
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes.buffer;
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'))).arrayBuffer();
};
const once = (path, read, size) => {
  const files = fetched[size], known = files.get(path) ?? fetchBytes(path).then(read);
  known.catch(() => files.delete(path));
  files.delete(path);
  files.set(path, known);
  if (files.size > KEPT[size]) files.delete(files.keys().next().value);
  return known;
};

/** @param {string} path @param {'small' | 'large'} [size] of which more or fewer files are kept */
export const fetchData = (path, size = 'small') => once(path, buffer => JSON.parse(new TextDecoder().decode(buffer)), size);

/** An entry of many that are in files of some each: autointerp/explorer/publishing/packing.py writes them.
 * @param {string} place their folder @param {{entries: number, files: number}} parts @param {number} row @param {'small' | 'large'} [size] */
export const fetchEntry = async (place, {entries, files}, row, size) => {
  const file = Math.floor(row / entries);
  return (await fetchData(place + Math.floor(file / files) + '/' + file % files + '.json.gz', size))[row % entries];
};

const KINDS = {f4: Float32Array, f8: Float64Array, i4: Int32Array, i1: Int8Array, u1: Uint8Array, u2: Uint16Array, u4: Uint32Array};
/** Numbers, in the order of bytes of all today's machines: little-endian. @param {string} path @param {string} kind */
export const fetchNumbers = (path, kind) => once(path, buffer => new KINDS[kind](buffer), 'small');
