// Times, durations, money and states as the pages of runs write them.
import {addressOfJudgements, addressOfRun, el, fileOfRun, isJudged, visible} from './dom.js';

/** A time in this browser's zone. @param {number | null} seconds */
export const time = seconds => seconds ? new Date(1000 * seconds).toLocaleString(undefined, {dateStyle: 'medium', timeStyle: 'short'}) : '';

/** The same with seconds. @param {number} seconds */
export const moment = seconds => new Date(1000 * seconds).toLocaleString(undefined, {month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit', second: '2-digit'});

/** Dollars; less than a dollar with four decimals. @param {number | null} usd */
export const dollars = usd => usd === null || usd === undefined ? '\u2013' : '$' + (usd === 0 || usd >= 1 ? usd.toLocaleString('en', {minimumFractionDigits: 2, maximumFractionDigits: 2}) : usd.toFixed(usd < 0.0001 ? 6 : 4));

/** @param {number} seconds */
export const duration = seconds => seconds < 1 ? Math.round(1000 * seconds) + ' ms' : seconds < 100 ? seconds.toFixed(seconds < 10 ? 1 : 0) + ' s' : Math.round(seconds / 60) + ' min';

/** @param {number} bytes */
export const size = bytes => bytes < 1e3 ? bytes + ' bytes' : bytes < 1e6 ? (bytes / 1e3).toFixed(bytes < 1e4 ? 1 : 0) + ' kB' : (bytes / 1e6).toFixed(1) + ' MB';

/** A button that copies a text, and says so. @param {string} text @param {string} name */
export const copy = (text, name) => {
  const button = el('button', {type: 'button', class: 'copy', 'aria-label': 'copy ' + name, onclick: async () => {
    try { await navigator.clipboard.writeText(text); button.textContent = 'copied'; } catch { button.textContent = 'not allowed'; }
    setTimeout(() => { button.textContent = 'copy'; }, 1500);
  }}, 'copy');
  return button;
};

/** A command to copy. @param {string} text */
export const command = text => el('span', {class: 'command'}, el('code', {}, visible(text)), copy(text, 'the command'));

/** The pages of one run, those that there are. @param {string} run
 * @param {{index: boolean, report: boolean, address?: string}} has @param {string} here */
export const pagesOfRun = (run, has, here) =>
  [['overview', addressOfRun(run)], isJudged(run) && ['judgements', addressOfJudgements(run)], has.report && ['report', fileOfRun(run, 'report.html')],
    has.index && ['units', has.address ?? fileOfRun(run, '')]].filter(Boolean)
    .map(([name, address]) => el('a', {href: address, 'aria-current': name === here && 'page'}, name));
