'use strict';
const nodes = JSON.parse(document.getElementById('nodes').textContent);
const view = document.getElementById('view'), world = document.getElementById('world');
const details = document.getElementById('details'), search = document.getElementById('search');
const boxes = [], links = [];
for (const e of world.querySelectorAll('.node')) boxes[e.dataset.node] = e;
for (const e of world.querySelectorAll('.link')) links.push({ e, from: +e.dataset.from, to: +e.dataset.to });
for (const n of nodes) n.users = [];
nodes.forEach((n, id) => n.needs.forEach(d => nodes[d.to].users.push({ to: id, kind: d.kind })));

// The view: a scale, and where the drawing's corner lies.
const size = { w: +world.dataset.width, h: +world.dataset.height };
let scale = 1, left = 0, top_ = 0;
function show() { world.setAttribute('transform', `translate(${left},${top_}) scale(${scale})`); }
function fit(whole) {
  const w = view.clientWidth, h = view.clientHeight;
  scale = Math.min(1.25, w / size.w, h / size.h);
  if (!whole) scale = Math.max(scale, Math.min(1, w / size.w), 0.45); // as long as it can be read
  left = (w - size.w * scale) / 2;
  top_ = Math.max(0, (h - size.h * scale) / 2);
  show();
}
function zoom(by, x, y) {
  const next = Math.min(4, Math.max(0.03, scale * by));
  left = x - (x - left) * next / scale;
  top_ = y - (y - top_) * next / scale;
  scale = next;
  show();
}
function center(id) {
  const b = boxes[id].transform.baseVal.consolidate().matrix;
  scale = Math.max(scale, 0.7);
  left = view.clientWidth / 2 - (b.e + 60) * scale;
  top_ = view.clientHeight / 2 - (b.f + 19) * scale;
  show();
}

// What is built before a node: what it needs, what that needs, and what comes along with any of these; not what comes
// along with the node itself.
function before(start) {
  const seen = new Set([start]);
  for (const id of seen) for (const d of nodes[id].needs) if (id !== start || d.kind !== 'runtime') seen.add(d.to);
  return seen;
}
// What waits for a node: the same, from the other side.
function after(start) {
  const reached = new Set([start]), waits = new Set([start]);
  for (const id of reached) {
    for (const u of nodes[id].users) {
      reached.add(u.to);
      if (u.kind !== 'runtime') waits.add(u.to);
    }
  }
  return waits;
}
let chosen = -1;
function ask(id) {
  world.classList.toggle('asked', id >= 0);
  const sets = id < 0 ? [] : [before(id), after(id), new Set([id, ...nodes[id].needs.map(d => d.to)]), new Set([id, ...nodes[id].users.map(u => u.to)])];
  boxes.forEach((b, i) => b.classList.toggle('on', sets.some(s => s.has(i))));
  for (const l of links) l.e.classList.toggle('on', sets.some((s, i) => s.has(l.from) && s.has(l.to) && (i < 2 || l.from === id || l.to === id)));
}
function element(tag, text, parent) {
  const e = document.createElement(tag);
  e.textContent = text;
  parent.append(e);
  return e;
}
function list(title, entries) {
  element('h3', `${title} (${entries.length})`, details);
  const ul = element('ul', '', details);
  for (const d of entries) {
    const li = element('li', nodes[d.to].label + ' ', ul);
    element('span', d.kind, li);
    li.onclick = () => { choose(d.to); center(d.to); };
  }
}
function choose(id) {
  if (chosen >= 0) boxes[chosen].classList.remove('chosen');
  chosen = id;
  ask(id);
  details.hidden = id < 0;
  details.replaceChildren();
  if (id < 0) return;
  const n = nodes[id];
  boxes[id].classList.add('chosen');
  element('h2', n.label, details);
  element('div', [n.note, n.state].filter(Boolean).join(', '), details);
  list('needs', n.needs);
  list('is needed by', n.users);
  element('h3', `${before(id).size - 1} are built before it, ${after(id).size - 1} wait for it`, details);
}

let hits = [], at = 0;
function find() {
  const text = search.value.trim().toLowerCase();
  hits = [];
  boxes.forEach((b, id) => {
    const hit = text !== '' && nodes[id].label.toLowerCase().includes(text);
    b.classList.toggle('hit', hit);
    if (hit) hits.push(id);
  });
  at = 0;
  document.getElementById('found').textContent = text === '' ? '' : `${hits.length} found`;
}
search.oninput = find;
search.onkeydown = e => {
  if (e.key !== 'Enter' || hits.length === 0) return;
  const id = hits[at++ % hits.length];
  choose(id);
  center(id);
};

const boxOf = target => target.closest('.node');
view.addEventListener('mouseover', e => { const b = boxOf(e.target); if (b && chosen < 0) ask(+b.dataset.node); });
view.addEventListener('mouseout', e => { if (boxOf(e.target) && chosen < 0) ask(-1); });
let grip = null;
view.addEventListener('pointerdown', e => { grip = { x: e.clientX, y: e.clientY, left, top_, moved: false, box: boxOf(e.target) }; });
window.addEventListener('pointermove', e => {
  if (!grip) return;
  const dx = e.clientX - grip.x, dy = e.clientY - grip.y;
  if (Math.abs(dx) + Math.abs(dy) > 4) grip.moved = true;
  if (!grip.moved) return;
  view.classList.add('moving');
  left = grip.left + dx;
  top_ = grip.top_ + dy;
  show();
});
window.addEventListener('pointerup', () => {
  if (grip && !grip.moved) choose(grip.box ? +grip.box.dataset.node : -1);
  grip = null;
  view.classList.remove('moving');
});
view.addEventListener('wheel', e => {
  e.preventDefault();
  const r = view.getBoundingClientRect();
  zoom(Math.exp(-e.deltaY / (e.deltaMode ? 20 : 500)), e.clientX - r.left, e.clientY - r.top);
}, { passive: false });
const middle = by => zoom(by, view.clientWidth / 2, view.clientHeight / 2);
document.getElementById('fit').onclick = () => fit(true);
document.getElementById('in').onclick = () => middle(1.25);
document.getElementById('out').onclick = () => middle(0.8);
document.addEventListener('keydown', e => {
  if (e.key === 'Escape') {
    search.value = '';
    find();
    search.blur();
    choose(-1);
  } else if (e.target !== search && !e.ctrlKey && !e.metaKey && !e.altKey) {
    if (e.key === '/') { search.focus(); e.preventDefault(); }
    if (e.key === '+') middle(1.25);
    if (e.key === '-') middle(0.8);
    if (e.key === '0') fit(true);
  }
});
fit(false);
if (location.hash) { // #//bash: that node, by the start of its label
  const id = nodes.findIndex(n => n.label.startsWith(decodeURIComponent(location.hash.slice(1))));
  if (id >= 0) { choose(id); center(id); }
}
