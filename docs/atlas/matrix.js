// The matrix: counts per function (or clause) and backend of the results that the filters leave.
// All text of results goes through textContent: it may come from anyone.
'use strict';
(() => {
  const data = window.LOSSPROOF;
  const { rows } = data;
  const total = rows.case.length;
  const PAGE = 100;
  const FAILED = new Set(['fail', 'error', 'crash', 'timeout']);
  const kind = (verdict) => (FAILED.has(verdict) ? 'fail' : verdict);
  // Gravest first; what the backend lacks says least.
  const ORDER = ['crash', 'timeout', 'error', 'fail', 'deviation', 'below', 'variant', 'pass', 'unsupported', 'skipped']
    .map((name) => data.verdicts.indexOf(name));
  const labels = data.columns;
  const functionOf = data.cases.map((id) => data.functions.indexOf(id.split('/')[0]));
  const lower = { cases: data.cases.map((s) => s.toLowerCase()), messages: data.messages.map((s) => s.toLowerCase()),
                  clauses: data.clauses.map((s) => s.toLowerCase()) };

  const form = document.getElementById('filters');
  const matrix = document.getElementById('matrix');
  const results = document.querySelector('#results tbody');
  const more = document.getElementById('more');
  const count = document.getElementById('count');
  const open = new Set();
  let chosen = [];
  let listed = 0;

  const element = (tag, text, attributes = {}) => {
    const made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    return made;
  };
  const fill = (name, values) => {
    for (const value of values) form.elements[name].append(element('option', value, { value }));
  };
  fill('f', data.functions);
  fill('b', labels);
  fill('d', data.dtypes);
  fill('v', data.verdicts.filter((_, i) => rows.verdict.includes(i)));

  function readHash() {
    const given = new URLSearchParams(location.hash.slice(1));
    for (const name of ['f', 'b', 'd', 'v', 'q']) form.elements[name].value = given.get(name) ?? '';
    open.clear();
    for (const name of (given.get('open') ?? '').split(',').filter(Boolean)) open.add(name);
  }
  function writeHash() {
    const given = new URLSearchParams();
    for (const name of ['f', 'b', 'd', 'v', 'q']) {
      if (form.elements[name].value) given.set(name, form.elements[name].value);
    }
    if (open.size) given.set('open', [...open].join(','));
    const hash = given.toString();
    history.replaceState(null, '', hash ? `#${hash}` : location.pathname + location.search);
  }

  function select() {
    const f = data.functions.indexOf(form.elements.f.value);
    const b = labels.indexOf(form.elements.b.value);
    const d = data.dtypes.indexOf(form.elements.d.value);
    const v = data.verdicts.indexOf(form.elements.v.value);
    const q = form.elements.q.value.trim().toLowerCase();
    const hit = (table) => (q ? new Set(lower[table].flatMap((s, i) => (s.includes(q) ? [i] : []))) : null);
    const [cases, messages, clauses] = [hit('cases'), hit('messages'), hit('clauses')];
    chosen = [];
    for (let i = 0; i < total; i++) {
      if (f >= 0 && functionOf[rows.case[i]] !== f) continue;
      if (b >= 0 && rows.column[i] !== b) continue;
      if (d >= 0 && rows.dtype[i] !== d) continue;
      if (v >= 0 && rows.verdict[i] !== v) continue;
      if (q && !cases.has(rows.case[i]) && !messages.has(rows.message[i]) && !clauses.has(rows.clause[i])) continue;
      chosen.push(i);
    }
  }

  function tally(keyOf) {
    const cells = new Map();
    for (const i of chosen) {
      const key = keyOf(i);
      if (!cells.has(key)) cells.set(key, data.columns.map(() => null));
      const row = cells.get(key);
      row[rows.column[i]] ??= new Uint32Array(data.verdicts.length);
      row[rows.column[i]][rows.verdict[i]] += 1;
    }
    return cells;
  }

  function cell(counted, label, column, narrow) {
    const made = element('td');
    if (!counted) return made;
    const present = ORDER.filter((v) => counted[v]);
    const [first] = present;
    const all = counted.reduce((a, n) => a + n, 0);
    const name = data.verdicts[first];
    const text = present.length === 1 && name === 'pass' ? `✓ ${all}` : `${data.symbols[first]} ${counted[first]} ${name}`;
    const details = present.map((v) => `${counted[v]} ${data.verdicts[v]}`).join(', ');
    const button = element('button', text, {
      type: 'button', class: `cell ${kind(name)}`, title: details,
      'aria-label': `${label} on ${labels[column]}: ${details} of ${all}`,
    });
    button.addEventListener('click', () => {
      narrow();
      form.elements.b.value = labels[column];
      update();
      document.getElementById('results-title').scrollIntoView();
    });
    made.append(button);
    return made;
  }

  function drawMatrix() {
    const head = element('tr');
    head.append(element('th', 'Function', { scope: 'col' }));
    const used = new Set(chosen.map((i) => rows.column[i]));
    const columns = data.columns.map((_, i) => i).filter((i) => used.has(i));
    for (const column of columns) head.append(element('th', labels[column], { scope: 'col' }));
    matrix.tHead.replaceChildren(head);
    const byFunction = tally((i) => functionOf[rows.case[i]]);
    const byClause = open.size ? tally((i) => `${functionOf[rows.case[i]]} ${rows.clause[i]}`) : new Map();
    const drawn = [];
    data.functions.forEach((name, f) => {
      if (!byFunction.has(f)) return;
      const row = element('tr');
      const title = element('th', undefined, { scope: 'row' });
      const expanded = open.has(name);
      const button = element('button', `${expanded ? '▾' : '▸'} ${name}`, { type: 'button', 'aria-expanded': String(expanded) });
      button.addEventListener('click', () => {
        if (!open.delete(name)) open.add(name);
        update();
        [...matrix.querySelectorAll('th button')].find((b) => b.textContent.endsWith(` ${name}`))?.focus();
      });
      title.append(button);
      row.append(title);
      for (const column of columns) {
        row.append(cell(byFunction.get(f)[column], name, column, () => { form.elements.f.value = name; }));
      }
      drawn.push(row);
      if (!expanded) return;
      data.clauses.forEach((clause, c) => {
        const counted = byClause.get(`${f} ${c}`);
        if (!counted) return;
        const line = element('tr', undefined, { class: 'clause' });
        const head = element('th', undefined, { scope: 'row' });
        const page = data.pages[clause];
        head.append(page ? element('a', clause, { href: `spec/${page}.html#${clause}` }) : clause);
        line.append(head);
        for (const column of columns) {
          line.append(cell(counted[column], `${name} ${clause}`, column, () => {
            form.elements.f.value = name;
            form.elements.q.value = clause;
          }));
        }
        drawn.push(line);
      });
    });
    matrix.tBodies[0].replaceChildren(...drawn);
  }

  function drawResults(from) {
    const drawn = [];
    for (const i of chosen.slice(from, from + PAGE)) {
      const id = data.cases[rows.case[i]];
      const [name] = id.split('/');
      const verdict = data.verdicts[rows.verdict[i]];
      const row = element('tr');
      const head = element('th', undefined, { scope: 'row' });
      const target = `functions/${encodeURIComponent(name)}.html#${encodeURI(id.slice(name.length + 1))}`;
      head.append(element('a', id, { href: target }));
      const chip = element('td');
      chip.append(element('span', `${data.symbols[rows.verdict[i]]} ${verdict}`, { class: `chip ${kind(verdict)}` }));
      row.append(
        head, element('td', labels[rows.column[i]]), element('td', data.dtypes[rows.dtype[i]]),
        element('td', data.outputs[rows.output[i]]), chip,
        element('td', rows.ulp[i] ?? ''), element('td', rows.share[i] ?? ''),
        element('td', data.messages[rows.message[i]]),
      );
      drawn.push(row);
    }
    if (from === 0) results.replaceChildren();
    results.append(...drawn);
    listed = from + drawn.length;
    more.hidden = listed >= chosen.length;
  }

  function update() {
    select();
    chosen.sort((a, b) => ORDER.indexOf(rows.verdict[a]) - ORDER.indexOf(rows.verdict[b]));
    count.textContent = `${chosen.length} of ${total} results`;
    drawMatrix();
    drawResults(0);
    writeHash();
  }

  form.addEventListener('input', update);
  form.addEventListener('submit', (event) => event.preventDefault());
  form.addEventListener('reset', () => setTimeout(() => { open.clear(); update(); }));
  more.addEventListener('click', () => drawResults(listed));
  window.addEventListener('hashchange', () => { readHash(); update(); });
  readHash();
  update();
})();
