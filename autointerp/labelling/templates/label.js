'use strict';
// One rater's sheet. A label changes the page at once and joins a queue, which is sent to the server in order. The queue is kept in the
// browser's storage until every entry is acknowledged. All data enters the page as text content, never as markup.
(() => {
  const data = JSON.parse(document.getElementById('data').textContent);
  const $ = id => document.getElementById(id);
  const items = data.items.map(([number, explanation, before, marked, after]) => ({number, explanation, before, marked, after}));
  const here = new Set(items.map(item => item.number));
  const store = 'autointerp-labels/' + data.key + '/';
  const mine = store + Array.from(crypto.getRandomValues(new Uint32Array(2))).join('-');
  const IDLE = 120, RETRY = 1000;

  let labels = new Map();   // number -> [score or null, seconds]
  let queue = [];           // [number, score, seconds] not yet acknowledged; a score of null skips the item, undefined removes its label
  let past = [];            // [number, score before or undefined]: what undo restores
  let at = 0;               // place in the sheet; items.length is the end
  let closed = data.closed;
  let revealed = false;
  let sending = false;
  let trouble = '';         // why changes are not being saved, or why one was refused

  // Labels.
  const now = () => Date.now() / 1000;
  const replaceLabels = saved => {  // the server's labels, with the changes that it does not have yet
    labels = new Map(Object.entries(saved).map(([number, label]) => [Number(number), label]));
    for (const [number, score, when] of queue) put(number, score, when);
  };
  const put = (number, score, when) => { if (score === undefined) labels.delete(number); else labels.set(number, [score, when]); };
  const open = item => !labels.has(item.number);
  const nextOpen = from => {
    for (let i = 0; i < items.length; i++) {
      const place = (from + i) % items.length;
      if (open(items[place])) return place;
    }
    return items.length;
  };
  const many = (n, noun) => n + ' ' + noun + (n === 1 ? '' : 's');

  // Saving.
  const keep = () => {
    try {
      if (queue.length) localStorage.setItem(mine, JSON.stringify(queue.map(([number, score, when]) => [number, score === undefined ? 'undo' : score, when])));
      else localStorage.removeItem(mine);
    } catch (error) { /* storage is full or forbidden: the queue is in this page alone */ }
  };
  const adopt = () => {  // take over what pages that are gone have left in the storage, unless it was labelled later
    let keys = [];
    try { keys = Object.keys(localStorage).filter(key => key.startsWith(store) && key !== mine); } catch (error) { return; }
    for (const key of keys) {
      let left = [];
      try { left = JSON.parse(localStorage.getItem(key)); localStorage.removeItem(key); } catch (error) { continue; }
      if (!Array.isArray(left)) continue;
      for (const [number, score, when] of left) {
        const later = labels.get(number);
        if (here.has(number) && !(later && later[1] > when)) queue.push([number, score === 'undo' ? undefined : score, when]);
      }
    }
    keep();
  };
  const pause = ms => new Promise(done => setTimeout(done, ms));
  const send = async () => {
    if (sending) return;
    sending = true;
    for (let failures = 0; queue.length;) {
      const entry = queue[0], [number, score] = entry;
      let problem = '';
      try {
        const body = score === undefined ? {method: 'DELETE'} : {method: 'PUT', headers: {'Content-Type': 'application/json'}, body: JSON.stringify({score})};
        const answer = await fetch('labels/' + number, {...body, signal: AbortSignal.timeout(20000)});
        if (answer.ok) {
          const found = await answer.json();
          queue.shift();
          keep();
          replaceLabels(found.labels);
          failures = 0;
          trouble = '';
          draw();
          continue;
        }
        if (answer.status === 409) {
          queue = [];
          keep();
          trouble = 'These labels were closed in another window: your last change was not saved.';
          break;
        }
        if (answer.status === 422) { queue.shift(); keep(); trouble = 'A change was refused: ' + await answer.text(); continue; }
        if (answer.status === 404) problem = 'This page belongs to an earlier start of the program: open the address that the command printed last.';
        else problem = answer.status === 503 ? 'The ledger cannot be written at the moment.' : 'The program answered with an error (' + answer.status + ').';
      } catch (error) {
        problem = 'The program does not answer. If it was stopped, start the same command again.';
      }
      trouble = problem;
      failures++;
      progress();
      await pause(Math.min(RETRY * failures, 5000));
    }
    sending = false;
    if (trouble) refresh();
    draw();
  };
  const change = (number, score) => {
    const when = now();
    put(number, score, when);
    queue.push([number, score, when]);
    keep();
    send();
  };
  const refresh = async () => {
    if (queue.length || sending) return;
    try {
      const answer = await fetch('labels');
      if (!answer.ok) return;
      const found = await answer.json();
      if (queue.length || sending) return;
      replaceLabels(found.labels);
      closed = found.closed;
      draw();
    } catch (error) { /* the next change will report that the program does not answer */ }
  };

  // Actions.
  const decide = score => {
    if (closed || at >= items.length) return;
    const {number} = items[at];
    past.push([number, labels.has(number) ? labels.get(number)[0] : undefined]);
    change(number, score);
    $('last').textContent = 'Item ' + (at + 1) + (score === null ? ' skipped.' : ': grade ' + score + '.') + ' Press u to undo.';
    go(nextOpen(at + 1));
  };
  const undo = () => {
    if (closed || !past.length) return;
    const [number, before] = past.pop();
    change(number, before);
    const place = items.findIndex(item => item.number === number);
    $('last').textContent = 'Item ' + (place + 1) + ' is ' + (before === undefined ? 'open' : before === null ? 'skipped' : 'graded ' + before) + ' again.';
    go(place);
  };
  const go = place => {
    if (place < 0 || place > items.length || (place === items.length && items.some(open))) return;
    at = place;
    draw();
    ($('item').hidden ? $('end') : $('item')).focus({preventScroll: true});
    window.scrollTo(0, 0);
    $('explanation').scrollTop = $('window').scrollTop = 0;
  };
  const help = () => { const box = $('help'); if (box.open) box.close(); else box.showModal(); };
  const actions = {
    previous: () => go(at - 1),
    next: () => go(at + 1),
    skip: () => decide(null),
    undo, help,
    skipped: () => go(items.findIndex(item => (labels.get(item.number) || [0])[0] === null)),
    agreement: () => reveal(),
  };

  // Display.
  const timeLeft = () => {
    const times = [...labels.values()].map(([, when]) => when).sort((a, b) => a - b);
    const gaps = times.slice(1).map((when, i) => when - times[i]).filter(gap => gap < IDLE).slice(-30).sort((a, b) => a - b);
    const rest = items.filter(open).length;
    if (!rest || gaps.length < 3) return '';
    const seconds = rest * gaps[Math.floor(gaps.length / 2)];
    return seconds < 90 ? 'about a minute left' : 'about ' + Math.round(seconds / 60) + ' minutes left';
  };
  const progress = () => {
    const done = items.length - items.filter(open).length;
    $('bar').value = done;
    $('tally').textContent = done + ' of ' + many(items.length, 'item') + ' done';
    $('left').textContent = timeLeft();
    const kept = queue.length === 1 ? '1 change is' : queue.length + ' changes are';
    const words = trouble + (trouble && queue.length ? ' ' + kept + ' kept in this browser and will be saved later.' : '');
    if ($('trouble').textContent !== words) $('trouble').textContent = words;
    $('trouble').hidden = !words;
    $('saved').textContent = !queue.length ? 'saved' : trouble ? queue.length + ' not saved yet' : 'saving';
    $('saved').classList.toggle('waiting', Boolean(queue.length && trouble));
  };
  const draw = () => {
    progress();
    const end = at >= items.length;
    $('item').hidden = end;
    $('end').hidden = !end;
    if (end) drawEnd(); else drawItem(items[at]);
    for (const button of document.querySelectorAll('[data-do=undo]')) button.disabled = closed || !past.length;
    for (const node of document.querySelectorAll('.open')) node.hidden = closed;
    const hash = end ? '#end' : '#' + items[at].number;
    if (location.hash !== hash) history.replaceState(null, '', hash);
  };
  const drawItem = item => {
    $('place').textContent = 'Item ' + (at + 1) + ' of ' + items.length;
    if (item.number !== drawItem.number) {
      drawItem.number = item.number;
      $('explanation').textContent = item.explanation;
      const mark = document.createElement('mark');
      mark.textContent = item.marked;
      $('window').replaceChildren(item.before, mark, item.after);
    }
    const score = labels.has(item.number) ? labels.get(item.number)[0] : undefined;
    for (const button of document.querySelectorAll('.grade')) {
      button.setAttribute('aria-pressed', String(score === Number(button.dataset.score)));
      button.disabled = closed;
    }
    const skip = document.querySelector('[data-do=skip]');
    skip.setAttribute('aria-pressed', String(score === null));
    skip.disabled = closed;
    document.querySelector('#item [data-do=previous]').disabled = at === 0;
    document.querySelector('[data-do=next]').disabled = at === items.length - 1 && items.some(open);
  };
  const drawEnd = () => {
    const skipped = [...labels.values()].filter(([score]) => score === null).length;
    $('end-h').textContent = skipped ? (items.length - skipped) + ' items graded, ' + skipped + ' skipped.' : 'All ' + many(items.length, 'item') + ' graded.';
    $('end-note').textContent = (queue.length ? '' : closed ? 'Your labels are saved and closed. ' : 'Your labels are saved. ') + 'Thank you.';
    $('skipped').hidden = !skipped || closed;
    if (closed && !revealed) reveal();
  };
  const cell = (kind, words, name) => { const node = document.createElement(kind); node.textContent = words; if (name) node.className = name; return node; };
  const row = cells => { const node = document.createElement('tr'); node.append(...cells); return node; };
  const chip = grade => { const node = document.createElement('th'); node.append(cell('span', String(grade), 'chip k' + grade)); node.scope = 'col'; return node; };
  const reveal = async () => {
    if (queue.length) return;
    revealed = true;
    let found;
    try {
      const answer = await fetch('agreement', {method: 'POST'});
      if (!answer.ok) throw new Error(await answer.text());
      found = await answer.json();
    } catch (error) { trouble = 'The agreement cannot be shown: ' + error.message; draw(); return; }
    closed = true;
    trouble = '';
    draw();
    const table = document.createElement('table');
    const head = row([cell('th', 'judge \u2193, you \u2192'), ...found.table.map((_, grade) => chip(grade))]);
    const body = found.table.map((counts, grade) => row([chip(grade), ...counts.map((count, you) => cell('td', String(count), you === grade ? 'same' : ''))]));
    for (const line of body) line.firstChild.scope = 'row';
    table.append(head, ...body);
    const share = n => (found.n ? Math.round(100 * n / found.n) : 0) + '%';
    $('agreement').replaceChildren(
      cell('p', 'Of ' + many(found.n, 'graded item') + ', the judge gave the same grade to ' + found.exact + ' (' + share(found.exact) + ') and a grade at most one level apart to ' + found.within_one + ' (' + share(found.within_one) + ').'),
      table,
      cell('p', 'These are counts in the sample, in which rare grades are more frequent than in the whole run. The report corrects for that and adds intervals.'));
    $('agreement').hidden = false;
    $('agreement').focus();
  };

  // Input.
  document.addEventListener('click', event => {
    const button = event.target.closest('button');
    if (!button) return;
    if (button.dataset.score) decide(Number(button.dataset.score));
    else if (button.dataset.do) actions[button.dataset.do]();
  });
  const keys = {s: 'skip', u: 'undo', Backspace: 'undo', ArrowLeft: 'previous', ArrowRight: 'next', '?': 'help'};
  document.addEventListener('keydown', event => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const action = keys[event.key];
    const score = /^\d$/.test(event.key) && Number(event.key) < data.levels.length ? Number(event.key) : null;
    if ((!action && score === null) || ($('help').open && action !== 'help')) return;
    event.preventDefault();
    if (event.repeat) return;
    if (action) actions[action](); else decide(score);
  });
  window.addEventListener('beforeunload', event => { if (queue.length) event.preventDefault(); });
  document.addEventListener('visibilitychange', () => { if (!document.hidden) refresh(); });
  window.addEventListener('focus', refresh);

  replaceLabels(data.labels);
  adopt();
  replaceLabels(data.labels);
  past = [...labels].sort((a, b) => a[1][1] - b[1][1]).map(([number]) => [number, undefined]);
  const linked = items.findIndex(item => '#' + item.number === location.hash);
  go(linked >= 0 ? linked : nextOpen(0));
  send();
})();
