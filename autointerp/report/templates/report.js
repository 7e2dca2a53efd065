'use strict';
// The list of units. All data enters the page as text content, never as markup.
(() => {
  const data = JSON.parse(document.getElementById('data').textContent);
  const root = document.getElementById('explorer');
  const drawing = document.querySelector('svg').namespaceURI;
  const text = i => data.strings[i];
  // The inverse of `pack` in string_table.py: indices of one, two or three characters each.
  const unpack = packed => {
    const base = data.alphabet.length, found = [];
    const digit = at => data.alphabet.indexOf(packed[at]);
    for (let at = 0; at < packed.length;) {
      const first = digit(at++);
      if (first < 29) found.push(first);
      else if (first < 69) found.push(29 + (first - 29) * base + digit(at++));
      else found.push(29 + 40 * base + ((first - 69) * base + digit(at++)) * base + digit(at++));
    }
    return found.map(text);
  };
  const high = data.grades[data.grades.length - 1];
  const low = data.grades[0];

  const el = (name, attributes, ...children) => {
    const node = document.createElement(name);
    for (const [key, value] of Object.entries(attributes || {})) {
      if (key === 'class') node.className = value;
      else if (key.startsWith('on')) node.addEventListener(key.slice(2), value);
      else if (value !== null && value !== undefined) node.setAttribute(key, value);
    }
    for (const child of children.flat(Infinity)) if (child !== null && child !== undefined) node.append(child);
    return node;
  };
  const shape = (name, attributes, words) => {
    const node = document.createElementNS(drawing, name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    if (words) {
      const title = document.createElementNS(drawing, 'title');
      title.textContent = words;
      node.append(title);
    }
    return node;
  };
  const fixed = (x, digits = 2) => (x === null ? 'n/a' : x.toFixed(digits).replace('-', '\u2212').replace(/^\u2212(0\.?0*)$/, '$1'));
  const signed = x => (x === null ? 'n/a' : (x > 0 ? '+' : '') + fixed(x));
  const many = (n, noun) => n.toLocaleString('en') + ' ' + noun + (n === 1 ? '' : 's');
  const density = d => (d === null ? 'n/a' : d === 0 ? '0' : d.toExponential(1).replace('-', '\u2212'));
  const rate = d => (d ? 'one token in ' + Math.round(1 / d).toLocaleString('en') : 'never active');
  const named = u => (data.kinds[u.k] || u.k) + ' ' + u.id.replace(/^\w+-/, '');
  const allUnits = data.units.concat(data.known);

  allUnits.forEach((u, place) => {
    u.place = place;
    u.delta = u.m === null || u.sh === null ? null : u.m - u.sh;
    u.number = Number((u.id.match(/\d+/) || [0])[0]);
    u.w = u.w || [];
    u.words = (u.id + ' ' + named(u) + ' ' + (u.e === null ? '' : text(u.e))).toLowerCase();
  });

  // Small drawings.
  const bars = (values, most, width, height, className, say) => {
    const svg = shape('svg', {viewBox: '0 0 ' + width + ' ' + height, class: className, preserveAspectRatio: 'none', role: 'img'});
    const step = width / values.length;
    values.forEach((value, i) => {
      svg.append(shape('rect', {x: i * step, y: height - 1, width: step - 1, height: 1, class: 'base'}));
      if (value === null || !(value > 0)) return;
      const tall = Math.max(1, value / most * height);
      svg.append(shape('rect', {x: i * step, y: height - tall, width: step - 1, height: tall}, say && say(i)));
    });
    return svg;
  };
  const spark = u => {
    const svg = bars(u.b.map(v => v === null ? null : v - low), high - low, 88, 20, 'spark ' + u.k);
    svg.setAttribute('aria-hidden', 'true');
    return svg;
  };
  const histogram = u => {
    const logs = u.h.map(n => Math.log10(1 + n));
    if (!logs.length) return null;
    const svg = bars(logs, Math.max(1, ...logs), 216, 56, 'mini-svg', i => many(u.h[i], 'token'));
    svg.setAttribute('aria-label', 'tokens by activation');
    return el('figure', {class: 'mini ' + u.k}, svg,
      el('figcaption', {}, 'tokens by activation, 0 to ' + (u.max === null ? 'n/a' : u.max.toPrecision(3)) + ' (log scale)'));
  };
  const byBin = u => {
    const say = i => 'bin ' + (i + 1) + ': ' + fixed(u.b[i]);
    const svg = bars(u.b.map(v => v === null ? null : v - low), high - low, 216, 56, 'mini-svg', say);
    svg.setAttribute('aria-label', 'mean grade by activation bin');
    return el('figure', {class: 'mini ' + u.k}, svg, el('figcaption', {}, 'mean grade by bin, ' + low + ' to ' + high));
  };

  // One unit, drawn when it is first opened.
  const chip = (outcome, score) => score === null
    ? el('span', {class: 'chip un', title: 'unscored: ' + data.outcomes[outcome]}, '\u2013')
    : el('span', {class: 'chip k' + score, title: 'grade ' + score}, String(score));
  const judgement = ([place, outcome, score, reason, other, repeat, again, aid]) => {
    const line = el('p', {});
    const arm = data.arms[place];
    if (again) line.append(el('b', {}, 'The second judge'), '. ');
    if (aid) line.append(el('b', {}, 'Explained with ' + aid), '. ');
    if (arm === 'near') line.append(el('b', {}, 'Beside a planted word'), '. ');
    if (arm === 'neighbour') line.append(el('b', {}, 'A neighbour is active here, this unit is not'), '. ');
    if (arm === 'shuffled') {
      line.append(el('b', {}, 'Under another unit\u2019s explanation'));
      const unit = other === undefined || other === null ? null : allUnits[other];
      if (unit && unit.e !== null) line.append(' ', el('q', {}, text(unit.e)), ' (', el('a', {href: '#' + encodeURIComponent(unit.id)}, named(unit)), ')');
      line.append('. ');
    }
    if (repeat) line.append('Repeat ' + (repeat + 1) + '. ');
    if (score === null) line.append(el('b', {}, 'Unscored'), ': ' + data.outcomes[outcome] + '. ');
    line.append(text(reason));
    return [chip(outcome, score), line];
  };
  const windowOf = ([, , mark, flags, heat, tokens]) => {
    const line = el('p', {class: 'window', dir: 'auto'});
    if (flags & 1) line.append(el('span', {class: 'cut'}, '\u2026'));
    unpack(tokens).forEach((token, i) => {
      const h = Number(heat[i] || 0);
      const [, space, words] = token.match(/^( *)([^]*)$/);
      if (i !== mark && (!h || words === '')) { line.append(space + words); return; }
      line.append(space);
      line.append(el(i === mark ? 'mark' : 'span', {class: 'h' + h}, words === '' ? (space ? '\u2423' : '\u25cc') : words));
    });
    if (flags & 2) line.append(el('span', {class: 'cut'}, '\u2026'));
    return line;
  };
  const band = bin => {
    if (bin === 0) return el('h3', {class: 'band'}, 'Silent windows ', el('span', {}, 'the unit is not active at the outlined token'));
    const edge = x => Number((x / data.bins).toFixed(3));
    return el('h3', {class: 'band'}, 'Bin ' + bin + ' ', el('span', {}, edge(bin - 1) + ' to ' + edge(bin) + ' of the maximum'));
  };
  const facts = u => {
    const mean = (x, place, kind) => fixed(x) + (x === null ? (u.w[place] && ' (' + u.w[place] + ')') : kind);
    const tokens = packed => unpack(packed).map((token, i) => [i ? ' ' : '', el('span', {class: 'token'}, token.replace(/ /g, '\u2423'))]);
    const pairs = [['mean grade', mean(u.m, 0, ' (all bins equal)')], ['', mean(u.f, 1, ' (bins weighted by events)')], ['shuffled', mean(u.sh, 2, '')],
      ['silent windows', mean(u.br, 3, '')], ['judgements', u.n[0] + ' scored, ' + u.n[1] + ' unscored'],
      ['density', density(u.d) + ' (' + rate(u.d) + ')'], ['maximum', u.max === null ? 'n/a' : u.max.toPrecision(4)]];
    if (u.p) pairs.push(['promotes', tokens(u.p[0])], ['suppresses', tokens(u.p[1])]);
    if (u.near) pairs.push(['nearest neuron', u.near[0] + ', correlation ' + fixed(u.near[1])]);
    if (u.k === 'feature' && data.neuronpedia) pairs.push(['elsewhere', el('a', {href: data.neuronpedia + '/' + u.number, rel: 'noreferrer'}, 'Neuronpedia')]);
    if (u.s !== 'alive') pairs.push(['status', u.s.replace('_', ' ')]);
    return el('dl', {class: 'facts'}, pairs.map(([name, value]) => [el('dt', {}, name), el('dd', {}, value)]));
  };
  const body = u => {
    const box = el('div', {class: 'body'}, el('div', {class: 'cards'}, facts(u), u.k === 'planted' ? null : byBin(u), histogram(u)));
    if (u.e === null) box.append(el('p', {}, missing(u) + '.'));
    if (u.v.length) box.append(el('h3', {class: 'band'}, 'Other explanations'), el('dl', {class: 'facts others'}, u.v.map(([aid, explanation, n, mean]) => [
      el('dt', {}, 'with ' + aid), el('dd', {}, text(explanation) ? el('q', {dir: 'auto'}, text(explanation)) : null, ' mean grade ' + fixed(mean) + ' on ' + many(n, 'exemplar'))])));
    const context = x => el('div', {class: 'ex'}, x[7] ? el('p', {class: 'turn'}, 'Message: ' + x[7]) : null, windowOf(x),
      x[6].length ? el('div', {class: 'judged'}, x[6].map(judgement)) : el('p', {class: 'turn'}, x[3] & 4 ? 'Shown to the explainer.' : 'Not judged.'));
    if (u.t.length) box.append(el('h3', {class: 'band'}, 'Strongest contexts '), ...u.t.map(context));
    let current = null;
    for (const x of u.x) {
      if (x[0] !== current) box.append(band(current = x[0]));
      box.append(context(x));
    }
    const rest = u.n[2];
    if (rest > 0) box.append(el('p', {class: 'keys'}, many(rest, 'more judged exemplar') + ' in judgements.parquet.'));
    box.append(el('div', {class: 'step'},
      el('button', {type: 'button', onclick: () => step(u.node, -1, true)}, 'previous unit'),
      el('button', {type: 'button', onclick: () => step(u.node, 1, true)}, 'next unit')));
    return box;
  };
  const missing = u => {
    if (u.s === 'dead') return 'No explanation: never active on this corpus (dead)';
    if (u.s === 'barely_active') return 'No explanation: active too rarely on this corpus';
    return 'No explanation' + (u.o ? ': ' + data.outcomes[u.o] : '');
  };

  // The list.
  const build = u => {
    const summary = el('summary', {class: 'row'},
      el('span', {class: 'name ' + u.k}, el('i', {'aria-hidden': 'true'}), named(u)),
      u.e === null ? el('span', {class: 'explanation none'}, missing(u)) : el('span', {class: 'explanation', dir: 'auto'}, text(u.e)),
      spark(u),
      el('span', {class: 'num', title: u.m === null && u.w[0] ? 'no mean grade: ' + u.w[0] : 'mean grade'}, fixed(u.m)),
      el('span', {class: 'num', title: u.delta === null && (u.w[0] || u.w[2]) ? 'no difference: ' + (u.w[0] || u.w[2]) : 'mean grade above that under another unit\u2019s explanation'}, signed(u.delta)),
      el('span', {class: 'num', title: rate(u.d)}, density(u.d)));
    const node = el('details', {class: 'unit', id: u.id}, summary);
    node.addEventListener('toggle', () => {
      if (!node.open) return;
      if (!u.drawn) { u.drawn = true; node.append(body(u)); }
      if (document.activeElement === summary) remember(u.id);
    });
    u.node = node;
    node.unit = u;
    return node;
  };
  const remember = id => { try { history.replaceState(null, '', '#' + encodeURIComponent(id)); } catch (error) { /* some browsers refuse this for files */ } };

  const shows = {
    all: () => true,
    feature: u => u.k === 'feature',
    neuron: u => u.k === 'neuron',
  };
  const grades = {
    all: () => true,
    high: u => u.m !== null && u.m >= 2,
    middle: u => u.m !== null && u.m >= 1 && u.m < 2,
    low: u => u.m !== null && u.m < 1,
    none: u => u.m === null,
  };
  const orders = {
    unit: u => [u.k, u.number, u.id],
    mean: u => u.m,
    delta: u => u.delta,
    density: u => u.d,
  };
  let order = 'mean';
  let falling = true;

  const search = el('input', {type: 'search', id: 'search', placeholder: 'Search explanations and names', 'aria-label': 'Search explanations and names', autocomplete: 'off', spellcheck: 'false'});
  const choice = (label, id, options) => el('select', {id, 'aria-label': label}, options.map(([value, words]) => el('option', {value}, words)));
  const kind = choice('Kind', 'kind', [['all', 'features and neurons'], ['feature', 'features'], ['neuron', 'neurons']]);
  const grade = choice('Mean grade', 'grade', [['all', 'any mean grade'], ['high', 'mean grade 2 or more'], ['middle', 'mean grade 1 to 2'], ['low', 'mean grade below 1'], ['none', 'not scored']]);
  const tally = el('output', {'aria-live': 'polite', for: 'search kind grade'});
  const list = el('div', {id: 'list'});
  const names = {unit: 'unit', mean: 'mean', delta: 'above shuffled', density: 'density'};
  const sorter = key => el('button', {type: 'button', 'data-sort': key, onclick: () => {
    falling = order === key ? !falling : key !== 'unit';
    order = key;
    arrange();
  }}, names[key]);
  const sorters = Object.keys(orders).map(sorter);
  const heads = el('div', {class: 'row sorts', role: 'group', 'aria-label': 'Sort by'},
    sorters[0], el('span', {class: 'left'}, 'explanation'), el('span', {class: 'left'}, 'grade by bin'), sorters.slice(1));

  const compare = (a, b) => {
    const [x, y] = [orders[order](a), orders[order](b)];
    if (Array.isArray(x)) {
      for (let i = 0; i < x.length; i++) if (x[i] !== y[i]) return (x[i] < y[i] ? -1 : 1) * (falling ? -1 : 1);
      return 0;
    }
    if (x === null || y === null) return (x === null) - (y === null) || a.place - b.place;
    return (x - y) * (falling ? -1 : 1) || a.place - b.place;
  };
  const arrange = () => {
    for (const button of sorters) {
      const key = button.dataset.sort;
      button.setAttribute('aria-pressed', String(key === order));
      button.textContent = names[key] + (key === order ? (falling ? ' \u2193' : ' \u2191') : '');
    }
    list.append(...[...data.units].sort(compare).map(u => u.node));
  };
  const filter = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let n = 0;
    for (const u of data.units) {
      const hit = shows[kind.value](u) && grades[grade.value](u) && words.every(word => u.words.includes(word));
      u.node.hidden = !hit;
      n += hit;
    }
    tally.textContent = n === data.units.length ? many(n, 'unit') : n.toLocaleString('en') + ' of ' + many(data.units.length, 'unit');
  };

  // Keyboard and links.
  const step = (from, by, open) => {
    const nodes = [...(from ? from.parentNode : list).children].filter(node => !node.hidden);
    const at = nodes.indexOf(from);
    const to = nodes[at < 0 ? 0 : Math.min(nodes.length - 1, Math.max(0, at + by))];
    if (!to || to === from) return;
    if (open) { if (from) from.open = false; to.open = true; remember(to.id); }
    to.firstChild.focus();
    to.scrollIntoView({block: open ? 'start' : 'nearest'});
  };
  const follow = () => {
    let id = location.hash.slice(1);
    try { id = decodeURIComponent(id); } catch (error) { /* a broken escape: take it as it is */ }
    const node = document.getElementById(id);
    if (!node || !node.unit) return;
    if (node.hidden) { search.value = ''; kind.value = grade.value = 'all'; filter(); }
    node.open = true;
    node.firstChild.focus({preventScroll: true});
    node.scrollIntoView({block: 'start'});
  };
  document.addEventListener('keydown', event => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
    if (event.key === 'Escape' && event.target === search) { search.value = ''; filter(); return; }
    if (typing) return;
    const here = event.target.closest ? event.target.closest('.unit') : null;
    const onRow = here && event.target === here.firstChild;
    if (event.key === '/') { event.preventDefault(); search.focus(); }
    else if (event.key === 'j' || event.key === 'k') step(here, event.key === 'j' ? 1 : -1, Boolean(here && here.open));
    else if (onRow && (event.key === 'ArrowDown' || event.key === 'ArrowUp')) {
      event.preventDefault();
      step(here, event.key === 'ArrowDown' ? 1 : -1, false);
    }
  });
  search.addEventListener('input', filter);
  kind.addEventListener('change', filter);
  grade.addEventListener('change', filter);
  window.addEventListener('hashchange', follow);

  root.append(el('div', {class: 'tools'}, search, kind, grade, tally),
    el('p', {class: 'keys'}, el('kbd', {}, '/'), ' search, ', el('kbd', {}, 'j'), ' ', el('kbd', {}, 'k'),
      ' next and previous unit, ', el('kbd', {}, 'Enter'), ' open or close'), heads, list);
  allUnits.forEach(build);
  const known = document.getElementById('known');
  if (known) known.append(...data.known.map(u => u.node));
  arrange();
  filter();
  follow();
  // When the page has loaded, the browser goes to the fragment itself, which takes the focus away from the unit.
  window.addEventListener('load', () => setTimeout(follow));
})();
