// Markdown of a growing text as DOM nodes. A block whose source did not change keeps its nodes, so that a streamed reply renders
// only its end again, and a selection in the finished part stays.
import {copyButton, h} from './dom.js';
import {appendInline} from './inline.js';

const kMaxDepth = 12;  // lists and quotes inside each other; what is deeper is a paragraph
const kMaxColumns = 64;

// None of these can be made to backtrack far: what cannot be said so is checked by hand below.
const kFence = /^ {0,3}(`{3,}|~{3,})(.*)$/;
const kHeading = /^ {0,3}(#{1,6})(?=\s|$)(.*)$/;
const kRule = /^ {0,3}(?:(?:-\s*){3,}|(?:\*\s*){3,}|(?:_\s*){3,})$/;
const kQuote = /^ {0,3}> ?/;
const kItem = /^( {0,3})([-*+]|\d{1,9}[.)])( {1,4}(?=\S)| +|$)/;

const isBlank = (line) => line.trim() === '';
const tabs = (line) => line.replace(/^[ \t]+/, (indent) => indent.replaceAll('\t', '    '));

function isTable(lines, at) {
  if (!lines[at].includes('|') || at + 1 >= lines.length || !/^[\s|:-]*-[\s|:-]*$/.test(lines[at + 1].slice(0, 2000))) return false;
  const rule = cells(lines[at + 1]);
  const columns = cells(lines[at]).length;
  return columns <= kMaxColumns && columns === rule.length && (columns > 1 || lines[at + 1].includes('|'))
      && rule.every((cell) => /^:?-+:?$/.test(cell));
}

function fenceOf(line) {
  const fence = kFence.exec(line);
  return fence && !(fence[1][0] === '`' && fence[2].includes('`')) ? fence : null;
}

// Whether a line ends the paragraph before it.
function interrupts(lines, at) {
  const line = lines[at];
  const item = kItem.exec(line);
  return fenceOf(line) || kHeading.test(line) || kRule.test(line) || kQuote.test(line) || isTable(lines, at)
      || (item !== null && item[0].length < line.length && (!/\d/.test(item[2]) || /^1[.)]$/.test(item[2])));
}

const itemKind = (item) => (/\d/.test(item[2]) ? item[2].at(-1) : item[2]);

/** The end (exclusive) and form of the block that begins at line `at`. */
function block(lines, at) {
  const line = lines[at];
  const fence = fenceOf(line);
  if (fence) {
    const close = new RegExp(`^ {0,3}${fence[1][0]}{${fence[1].length},}\\s*$`);
    let end = at + 1;
    while (end < lines.length && !close.test(lines[end])) ++end;
    const indent = /^ */.exec(line)[0].length;
    return {type: 'code', end: Math.min(end + 1, lines.length), language: fence[2].trim().split(/\s+/)[0], code: [at + 1, end], indent};
  }
  const heading = kHeading.exec(line);
  if (heading) return {type: 'heading', end: at + 1, level: heading[1].length, text: heading[2].trim().replace(/(?:^|\s)#+$/, '').trim()};
  if (kRule.test(line)) return {type: 'rule', end: at + 1};
  if (kQuote.test(line)) {
    let end = at + 1;
    while (end < lines.length && kQuote.test(lines[end])) ++end;
    return {type: 'quote', end};
  }
  if (isTable(lines, at)) {
    let end = at + 2;
    while (end < lines.length && lines[end].includes('|') && !isBlank(lines[end])) ++end;
    return {type: 'table', end};
  }
  const item = kItem.exec(line);
  if (item) return list(lines, at, item);
  let end = at + 1;
  while (end < lines.length && !isBlank(lines[end]) && !interrupts(lines, end)) ++end;
  return {type: 'paragraph', end};
}

// Items of one kind with what is indented below them; blank lines may stand between.
function list(lines, at, first) {
  const items = [];  // {from, to, indent}
  const kind = itemKind(first);
  let end = at;
  let loose = false;
  while (end < lines.length) {
    const item = kItem.exec(lines[end]);
    if (!item || itemKind(item) !== kind || kRule.test(lines[end])) break;
    const indent = item[0].length + (item[3] === '' ? 1 : 0);
    const from = end++;
    let blank = 0;
    while (end < lines.length) {
      if (isBlank(lines[end])) {
        ++blank;
      } else if (/^ */.exec(lines[end])[0].length >= Math.min(indent, 2 + item[1].length)) {
        loose ||= blank > 0;
        blank = 0;
      } else if (blank > 0 || kItem.test(lines[end]) || interrupts(lines, end)) {
        break;
      }
      ++end;
    }
    items.push({from, to: end - blank, indent});
    const next = end < lines.length ? kItem.exec(lines[end]) : null;
    if (!next || itemKind(next) !== kind) {
      end -= blank;
      break;
    }
    loose ||= blank > 0;
  }
  return {type: 'list', end, items, loose, ordered: /\d/.test(first[2]), start: parseInt(first[2], 10)};
}

/** The blocks of `lines`, in order. */
function blocks(lines) {
  const found = [];
  let at = 0;
  while (at < lines.length) {
    if (isBlank(lines[at])) {
      ++at;
      continue;
    }
    const next = block(lines, at);
    found.push({...next, from: at});
    at = next.end;
  }
  return found;
}

function cells(line) {
  const row = [];
  let cell = '';
  const text = line.trim().replace(/^\|/, '');
  for (let i = 0; i < text.length; ++i) {
    if (text[i] === '\\' && text[i + 1] === '|') {
      cell += '|';
      ++i;
    } else if (text[i] === '|') {
      row.push(cell.trim());
      cell = '';
    } else {
      cell += text[i];
    }
  }
  if (cell.trim() !== '') row.push(cell.trim());
  return row;
}

function renderTable(lines) {
  const sides = cells(lines[1]).map((cell) => (cell.endsWith(':') ? (cell.startsWith(':') ? 'center' : 'right') : null));
  const row = (tag, line) => {
    const texts = cells(line);
    return h('tr', {}, sides.map((side, column) => {
      const cell = h(tag, {'data-side': side, scope: tag === 'th' ? 'col' : null});
      appendInline(cell, texts[column] ?? '');
      return cell;
    }));
  };
  return h('div', {class: 'table', tabindex: '0', role: 'region', 'aria-label': 'Table'},
           h('table', {}, h('thead', {}, row('th', lines[0])), h('tbody', {}, lines.slice(2).map((line) => row('td', line)))));
}

function codeSource(one, lines) {
  const indent = new RegExp(`^ {0,${one.indent}}`);
  return lines.slice(...one.code).map((line) => line.replace(indent, '')).join('\n');
}

function renderCode(one, lines) {
  const code = h('code', {}, codeSource(one, lines));
  const language = one.language.slice(0, 32);
  return h('figure', {class: 'code'},
           h('figcaption', {}, h('span', {}, language || 'text'), copyButton('Copy code', () => code.textContent)),
           h('pre', {tabindex: '0', role: 'region', 'aria-label': language ? `Code, ${language}` : 'Code'}, code));
}

function renderList(one, lines, depth) {
  const element = h(one.ordered ? 'ol' : 'ul', {start: one.ordered && one.start !== 1 ? one.start : null});
  for (const item of one.items) {
    const indent = new RegExp(`^ {0,${item.indent}}`);
    const inner = lines.slice(item.from, item.to).map((line, i) => (i === 0 ? line.slice(item.indent) : line.replace(indent, '')));
    const li = h('li');
    const box = /^\[([ xX])\] /.exec(inner[0]);
    if (box) {
      inner[0] = inner[0].slice(4);
      li.append(box[1] === ' ' ? '☐ ' : '☑ ');
    }
    for (const child of blocks(inner)) {
      if (child.type === 'paragraph' && !one.loose) {
        appendInline(li, paragraphText(child, inner));
      } else {
        li.append(render(child, inner, depth + 1));
      }
    }
    element.append(li);
  }
  return element;
}

const paragraphText = (one, lines) => lines.slice(one.from, one.end).map((line) => line.trim()).join('\n');

function render(one, lines, depth = 0) {
  if (depth > kMaxDepth || one.type === 'paragraph') {
    const paragraph = h('p');
    appendInline(paragraph, paragraphText(one, lines));
    return paragraph;
  }
  switch (one.type) {
    case 'code': return renderCode(one, lines);
    case 'rule': return h('hr');
    case 'table': return renderTable(lines.slice(one.from, one.end));
    case 'list': return renderList(one, lines, depth);
    case 'quote': {
      const inner = lines.slice(one.from, one.end).map((line) => line.replace(kQuote, ''));
      return h('blockquote', {}, blocks(inner).map((child) => render(child, inner, depth + 1)));
    }
    default: {
      // The page has h1 and h2 of its own; a reply's headings go below them.
      const heading = h(`h${Math.min(one.level + 2, 6)}`, {class: `level-${one.level}`});
      appendInline(heading, one.text);
      return heading;
    }
  }
}

/** Shows a text as Markdown inside `container`, and again as it grows. */
export class MarkdownView {
  constructor(container) {
    this.container = container;
    this.text = '';
    this.blocks = [];  // {type, source, line: where it begins, node}
  }

  update(text) {
    text = text.replaceAll('\r\n', '\n').replaceAll('\0', '\ufffd');
    if (text === this.text) return;
    const lines = text.split('\n').map(tabs);
    // An unfinished last line may still join the block before its own, never one before that.
    const kept = text.startsWith(this.text) ? Math.max(this.blocks.length - 2, 0) : 0;
    const from = kept < this.blocks.length && kept > 0 ? this.blocks[kept].line : 0;
    const rest = from > 0 ? lines.slice(from) : lines;
    const fresh = blocks(rest);
    const before = this.blocks.slice(kept);
    this.blocks.length = kept;
    fresh.forEach((one, i) => {
      const source = rest.slice(one.from, one.end).join('\n');
      const old = before[i];
      let node = old?.node;
      if (!old || old.type !== one.type || old.source !== source) {
        if (old?.type === 'code' && one.type === 'code' && old.language === one.language) {
          node.querySelector('code').textContent = codeSource(one, rest);
        } else {
          node = render(one, rest);
          if (old) old.node.replaceWith(node);
          else this.container.append(node);
        }
      }
      this.blocks.push({type: one.type, language: one.language, source, line: from + one.from, node});
    });
    for (const old of before.slice(fresh.length)) old.node.remove();
    this.text = text;
  }
}

/** What a voice should say of a Markdown text: no marks, and of code only that it is there. */
export function spokenText(text) {
  const spoken = [];
  let fence = null;
  for (const line of text.split('\n')) {
    const mark = fenceOf(line);
    if (fence) {
      if (mark && mark[1].startsWith(fence) && mark[2].trim() === '') fence = null;
    } else if (mark) {
      fence = mark[1];
      spoken.push('(code)');
    } else if (!/^[\s|:-]+$/.test(line)) {
      spoken.push(line.replace(/^\s*(?:#{1,6}\s|>|[-*+]\s)/, '')
                      .replace(/\]\([^()\s]*\)/g, '')
                      .replace(/https?:\/\/([^\s/]+)\S*/g, '$1')
                      .replace(/[*_~`[\]|]+/g, ' ')
                      .trim());
    }
  }
  return spoken.join('\n').trim();
}
