// Elements, numbers and keys, for all pages. Text from a corpus, an explanation or a run enters a page as text content, never as markup.

/** An element with attributes and children; a child is text, an element, a list of both, or null.
 * @param {string} tag @param {Record<string, any>} attributes @param {...any} children */
export const el = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);

/** The same for SVG. @param {string} tag @param {Record<string, any>} attributes @param {...any} children */
export const shape = (tag, attributes = {}, ...children) => fill(document.createElementNS('http://www.w3.org/2000/svg', tag), attributes, children);

const fill = (node, attributes, children) => {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? '' : String(value));
  }
  node.append(...children.flat(Infinity).filter(child => child !== null && child !== undefined && child !== false));
  return node;
};

/** A part of a page with its heading. @param {any} title @param {any} note @param {...any} children */
export const part = (title, note, ...children) => el('section', {class: 'part'}, el('h2', {}, title, note ? el('span', {}, note) : null), ...children);

/** @param {string} id @returns {any} */
export const $ = id => document.getElementById(id);

/** The addresses below which the pages of this index are, and below which all are. */
export const base = document.body.dataset.base ?? '/', root = document.body.dataset.root ?? '/';
/** Whether the page is a file of a published folder, where no server answers: buttons that need one are not shown, and data comes from files. */
export const published = 'published' in document.body.dataset;

const unitsOf = index => index + (published ? 'unit.html?u=' : 'u/');
/** The permanent address of a unit. @param {string} id @param {string} [index] the address below which its index is, if it is another */
export const addressOf = (id, index = base) => unitsOf(index) + encodeURIComponent(id);
/** The unit that an address leads to, or null. @param {string} address */
export const unitIn = address => {
  const url = new URL(address, location.href), units = new URL(unitsOf(base), location.href);
  if (published) return url.pathname === units.pathname ? url.searchParams.get('u') : null;
  return url.pathname.startsWith(units.pathname) ? decodeURIComponent(url.pathname.slice(units.pathname.length)) : null;
};
/** A page of an index, such as `map`; the list of units for an empty name. @param {string} name @param {string} [index] another than this one */
export const addressOfPage = (name, index = base) => index + (published ? (name || 'index') + '.html' : name);
/** The list of units with a search. @param {string} [query] */
export const addressOfSearch = query => addressOfPage('') + (query ? '?' + query : '');
/** A file of a run. @param {string} run @param {string} file */
export const fileOfRun = (run, file) => root + 'runs/' + encodeURIComponent(run) + '/' + file;
const names = (name, run) => !published || (document.body.dataset[name] ?? '').split(' ').includes(run);
/** Whether the judgements of a run are there. @param {string} run */
export const isJudged = run => names('judged', run);
/** The judgements of a run, and with a search those that it finds. @param {string} run @param {string} [query] */
export const addressOfJudgements = (run, query) => fileOfRun(run, published ? 'calls.html' : 'calls') + (query ? '?' + query : '');
/** The list of runs. @param {string} run the one that is shown first */
export const addressOfRuns = run => root + (published ? 'runs.html#' : 'runs#') + encodeURIComponent(run);
/** The page of a run, or of one that is not published its place in the list of runs. @param {string} run */
export const addressOfRun = run => names('runs', run) ? fileOfRun(run, published ? 'about.html' : 'about') : addressOfRuns(run);
/** The run that this page is about. */
export const run = document.body.dataset.run ?? '';

const NAMED = {'\n': '\u21b5', '\r': '\u240d', '\t': '\u21e5', '\x7f': '\u2421', '\u061c': '\u27e8ALM\u27e9', '\u200e': '\u27e8LRM\u27e9', '\u200f': '\u27e8RLM\u27e9',
  '\u2028': '\u27e8LS\u27e9', '\u2029': '\u27e8PS\u27e9', '\u202a': '\u27e8LRE\u27e9', '\u202b': '\u27e8RLE\u27e9', '\u202c': '\u27e8PDF\u27e9', '\u202d': '\u27e8LRO\u27e9',
  '\u202e': '\u27e8RLO\u27e9', '\u2066': '\u27e8LRI\u27e9', '\u2067': '\u27e8RLI\u27e9', '\u2068': '\u27e8FSI\u27e9', '\u2069': '\u27e8PDI\u27e9'};
const INVISIBLE = /[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ufffe\uffff\u{e0000}-\u{e007f}]/gu;

/** A text with every control, bidirectional or zero-width character replaced by a visible symbol or its name, as in the report.
 * @param {string} text */
export const visible = text => text.replace(INVISIBLE, character => {
  const code = /** @type {number} */ (character.codePointAt(0));
  return NAMED[character] ?? (code < 0x20 ? String.fromCharCode(0x2400 + code) : '\u27e8U+' + code.toString(16).toUpperCase().padStart(4, '0') + '\u27e9');
});

/** A token on its own, with a symbol for a space, and a count for a long run of white space. @param {string} token */
export const token = token => {
  const whole = visible(token).replace(/ /g, '\u2423') || '\u25cc';
  const short = whole.replace(/([\u2423\u21b5\u21e5])\1{3,}/g, (run, symbol) => symbol + '\u00d7' + run.length);
  return el('code', {class: 'token', title: short === whole ? null : whole}, short);
};

/** What is known of a unit without an explanation. @param {{marked: string[], promoted: string[]}} unit */
export const unexplained = unit => {
  const parts = [['strongest at ', unit.marked], ['promotes ', unit.promoted]].filter(([, tokens]) => tokens.length);
  return parts.length ? parts.map(([words, tokens]) => [el('span', {}, words), tokens.map(each => [token(each), ' '])]) : 'not explained';
};

const SUPERSCRIPTS = '\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079';
/** A number of any magnitude in a few characters: 0.0123, 4.9x10^-5, 1,234. @param {number | null | undefined} value */
export const short = value => {
  if (value === null || value === undefined) return '\u2013';
  const size = Math.abs(value);
  if (size !== 0 && size < 0.001) {
    const [digits, power] = value.toExponential(1).split('e');
    return digits.replace('-', '\u2212') + '\u00d710' + power.replace('-', '\u207b').replace('+', '').replace(/\d/g, digit => SUPERSCRIPTS[Number(digit)]);
  }
  return (size >= 1000 ? Math.round(value).toLocaleString('en') : String(Number(value.toPrecision(3)))).replace('-', '\u2212');
};

/** Two decimals and a true minus sign. @param {number} value */
export const fixed = value => value.toFixed(2).replace('-', '\u2212');

/** A share in per cent, with a decimal below ten. @param {number | null} share */
export const percent = share => share === null ? '\u2013' : (100 * share).toFixed(share !== 0 && Math.abs(share) < 0.0995 ? 1 : 0).replace('-', '\u2212') + '%';

/** @param {number} n @param {string} noun */
export const many = (n, noun) => n.toLocaleString('en') + ' ' + noun + (n === 1 ? '' : 's');

/** How often, in words: "1 in 1,200 tokens". @param {number} density */
export const rate = density => density > 0 ? '1 in ' + Math.max(1, Math.round(1 / density)).toLocaleString('en') + ' tokens' : 'never';

/** A grade on the colours of the report's scale. @param {number | null} grade */
export const grade = grade => grade === null || grade === undefined ? el('span', {class: 'grade none'}, '\u2013')
  : el('span', {class: 'grade k' + Math.max(0, Math.min(3, Math.round(grade)))}, grade.toFixed(2));

/** Values as bars from 0 to `most`. @param {number[]} values @param {number} most @param {string} name @param {(place: number) => string} [say] */
export const bars = (values, most, name, say) => shape('svg', {viewBox: '0 0 ' + values.length * 4 + ' 24', preserveAspectRatio: 'none', class: name, 'aria-hidden': 'true'},
  values.map((value, i) => shape('rect', {x: i * 4, y: 23.5, width: 3.4, height: 0.5, class: 'base'})),
  values.map((value, i) => value > 0 && shape('rect', {x: i * 4, y: 24 - Math.max(1, 24 * value / most), width: 3.4, height: Math.max(1, 24 * value / most)},
    say && shape('title', {}, say(i)))));

/** The answer of an address. Rejects with the server's sentence, the `status` and the `body`. @param {string} path @param {RequestInit} [how] */
const answerTo = async (path, how = {}) => {
  let answer;
  try { answer = await fetch(path, how); } catch (error) {
    if (how.signal?.aborted) throw error;
    throw new Error('The explorer does not answer: if it was stopped, start the same command again.');
  }
  if (answer.ok) return answer;
  const said = await answer.text();
  let message = said, body = null;
  try { body = JSON.parse(said); message = body.error; } catch { /* plain text */ }
  throw Object.assign(new Error(message || 'The explorer answered with an error (' + answer.status + ').'), {status: answer.status, body});
};
const ask = async (path, how = {}) => {
  if (!published) return (await answerTo(path, how)).json();
  if (how.method) throw new Error('This is a published copy, which nothing can be sent to: open the dictionary with autointerp explore.');
  return (await import('./published.js')).answer(path);
};
const posted = (body, signal, method = 'POST') => ({method, signal, headers: {'Content-Type': 'application/json'}, body: JSON.stringify(body)});
/** The JSON at an address. @param {string} path @param {AbortSignal} [signal] */
export const fetchJson = (path, signal) => ask(path, {signal});
/** The answer to a change or a question that is sent as JSON. @param {string} path @param {any} body @param {AbortSignal} [signal] @param {string} [method] */
export const sendJson = (path, body, signal, method = 'POST') => ask(path, posted(body, signal, method));
/** Ask as `sendJson`; `take` gets each line of the answer, which is JSON, as it comes. @param {string} path @param {any} body @param {(line: any) => void} take @param {AbortSignal} [signal] */
export const sendForLines = async (path, body, take, signal) => {
  const reader = (await answerTo(path, posted(body, signal))).body.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = ''; ;) {
    const {done, value} = await reader.read();
    if (done) return;
    const lines = (rest + value).split('\n');
    rest = /** @type {string} */ (lines.pop());
    for (const line of lines) take(JSON.parse(line));
  }
};

/** Show a problem, or hide it for null. @param {string | null} message */
export const problem = message => { $('problem').textContent = message ?? ''; $('problem').hidden = !message; };

/** Call the action of a key that is pressed outside an input. @param {Record<string, () => void>} actions */
export const onKeys = actions => {
  const help = $('help');
  const toggle = () => { if (help.open) help.close(); else help.showModal(); };
  $('help-button').addEventListener('click', toggle);
  document.addEventListener('keydown', event => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const target = /** @type {HTMLElement} */ (event.target);
    if (target.matches('input:not([type=radio], [type=checkbox]), select, textarea')) return;
    const action = event.key === '?' ? toggle : document.querySelector('dialog[open]') ? null : actions[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
};

/** The last search of a kind below this address in this tab, as the query of an address, and how to keep one. @param {string} kind @returns {[() => string, (query: string) => void]} */
export const searchesOf = kind => {
  const key = 'autointerp-' + kind + ' ' + new URL(base, location.href).pathname;
  return [() => { try { return sessionStorage.getItem(key) ?? ''; } catch { return ''; } },
    query => { try { sessionStorage.setItem(key, query); } catch { /* storage is forbidden: what is shown then has the neighbours of the whole list */ } }];
};
export const [lastSearch, keepSearch] = searchesOf('search');
