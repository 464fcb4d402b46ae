// Markdown inside a block: code, emphasis, links. Makes nodes, never markup; every scan is linear and every nesting bounded,
// for the text comes from a model that repeats what strangers wrote.
import {h} from './dom.js';

const kLinkSchemes = new Set(['http:', 'https:', 'mailto:']);
const kMaxUrl = 2048;
const kMaxOpen = 24;     // delimiters waiting for their closer; deeper ones stay characters
const kMaxRun = 3;       // longer runs of * are decoration
const kEntities = {'&amp;': '&', '&lt;': '<', '&gt;': '>', '&quot;': '"', '&#39;': "'", '&nbsp;': '\u00a0'};

/** The address if a link may lead there, or null: absolute, and http, https or mailto. */
export function safeUrl(text) {
  if (text.length > kMaxUrl) return null;
  try {
    const url = new URL(text);
    return kLinkSchemes.has(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

function link(url) {
  return h('a', {href: url, title: url, target: '_blank', rel: 'noopener noreferrer nofollow'});
}

const isSpace = (c) => c === '' || /\s/u.test(c);
const isPunctuation = (c) => c !== '' && /[\p{P}\p{S}]/u.test(c);

/** Appends the nodes of `text` to `parent`. */
export function appendInline(parent, text) {
  const delimiters = [];  // {node, char, count, opens, closes}
  const brackets = [];    // {node, delimiters: how many stood below, active}
  const lastRun = lastBacktickRuns(text);
  let plain = '';
  const flush = () => {
    if (plain) parent.append(plain);
    plain = '';
  };
  const addText = (value) => {
    flush();
    const node = document.createTextNode(value);
    parent.append(node);
    return node;
  };

  let at = 0;
  while (at < text.length) {
    const c = text[at];
    if (c === '\\' && /[!-/:-@[-`{-~]/.test(text[at + 1] ?? '')) {
      plain += text[at + 1];
      at += 2;
    } else if (c === '\n') {
      flush();
      parent.append(h('br'));
      ++at;
    } else if (c === '`') {
      const run = runLength(text, at);
      const close = at + run <= (lastRun.get(run) ?? -1) ? findRun(text, at + run, run) : -1;
      if (close < 0) {
        plain += text.slice(at, at + run);
        at += run;
      } else {
        flush();
        parent.append(h('code', {}, codeText(text.slice(at + run, close))));
        at = close + run;
      }
    } else if (c === '*' || c === '_' || c === '~') {
      const run = runLength(text, at);
      const delimiter = flanking(text, at, run);
      if (run > kMaxRun || (c === '~' && run !== 2) || (!delimiter.opens && !delimiter.closes)) {
        plain += text.slice(at, at + run);
      } else {
        delimiter.node = addText(text.slice(at, at + run));
        delimiters.push(delimiter);
        if (delimiter.closes) closeEmphasis(delimiters, 0);
        if (delimiters.length > kMaxOpen) delimiters.pop();
      }
      at += run;
    } else if (c === '[' || (c === '!' && text[at + 1] === '[')) {
      // A picture becomes a link to it: the page fetches nothing that a model names.
      const mark = c === '[' ? '[' : '![';
      if (brackets.length < kMaxOpen) brackets.push({node: addText(mark), delimiters: delimiters.length, active: true});
      else plain += mark;
      at += mark.length;
    } else if (c === ']') {
      const bracket = brackets.pop();
      const target = bracket?.active ? linkTarget(text, at + 1) : null;
      const url = target && safeUrl(target.url);
      if (!url) {
        plain += ']';
        ++at;
        continue;
      }
      flush();
      const element = link(url);
      while (bracket.node.nextSibling) element.append(bracket.node.nextSibling);
      if (!element.hasChildNodes()) element.append(url);
      bracket.node.replaceWith(element);
      delimiters.length = bracket.delimiters;
      for (const outer of brackets) outer.active = false;  // no link inside a link
      at = target.end;
    } else if (c === '<') {
      const found = /^<((?:https?:\/\/|mailto:)[^\s<>]{1,2048})>|^<br ?\/?>/i.exec(text.slice(at, at + kMaxUrl + 16));
      const url = found?.[1] && safeUrl(found[1]);
      if (url) {
        flush();
        const element = link(url);
        element.append(found[1]);
        parent.append(element);
      } else if (found && !found[1]) {
        flush();
        parent.append(h('br'));
      } else {
        plain += c;
      }
      at += url || (found && !found[1]) ? found[0].length : 1;
    } else if (c === 'h' && /^https?:\/\/$/.test(text.slice(at, at + (text[at + 4] === 's' ? 8 : 7))) && !/\w/.test(text[at - 1] ?? '')
               && !brackets.some((bracket) => bracket.active)) {
      const address = bareAddress(text.slice(at, at + kMaxUrl));
      const url = safeUrl(address);
      if (url) {
        flush();
        const element = link(url);
        element.append(address);
        parent.append(element);
      } else {
        plain += address || c;
      }
      at += address.length || 1;
    } else if (c === '&') {
      const entity = /^&(?:amp|lt|gt|quot|#39|nbsp);/.exec(text.slice(at, at + 6))?.[0];
      plain += entity ? kEntities[entity] : c;
      at += entity ? entity.length : 1;
    } else {
      // To the next character that may mean something.
      let end = at + 1;
      while (end < text.length && !'\\\n`*_~[!]<h&'.includes(text[end])) ++end;
      plain += text.slice(at, end);
      at = end;
    }
  }
  flush();
}

function runLength(text, at) {
  let end = at;
  while (text[end] === text[at]) ++end;
  return end - at;
}

// Where the last run of backticks of each length begins, so that no search starts that finds nothing.
function lastBacktickRuns(text) {
  const last = new Map();
  for (const run of text.matchAll(/`+/g)) last.set(run[0].length, run.index);
  return last;
}

function findRun(text, from, length) {
  let at = text.indexOf('`', from);
  while (at >= 0) {
    const run = runLength(text, at);
    if (run === length) return at;
    at = text.indexOf('`', at + run);
  }
  return -1;
}

function codeText(text) {
  text = text.replaceAll('\n', ' ');
  return text.startsWith(' ') && text.endsWith(' ') && text.trim() ? text.slice(1, -1) : text;
}

// Which way a run of * _ ~ may face: CommonMark's rules.
function flanking(text, at, run) {
  const before = text[at - 1] ?? '';
  const after = text[at + run] ?? '';
  const left = !isSpace(after) && (!isPunctuation(after) || isSpace(before) || isPunctuation(before));
  const right = !isSpace(before) && (!isPunctuation(before) || isSpace(after) || isPunctuation(after));
  const char = text[at];
  const inWord = char === '_';
  return {
    char,
    count: run,
    opens: left && (!inWord || !right || isPunctuation(before)),
    closes: right && (!inWord || !left || isPunctuation(after)),
  };
}

// The newest delimiter closes what it can; what lies between goes into the new element.
function closeEmphasis(delimiters, bottom) {
  const closer = delimiters[delimiters.length - 1];
  let i = delimiters.length - 2;
  while (closer.count > 0 && i >= bottom) {
    const opener = delimiters[i];
    if (!opener.opens || opener.char !== closer.char) {
      --i;
      continue;
    }
    const width = opener.count >= 2 && closer.count >= 2 ? 2 : 1;
    if (closer.char === '~' && width !== 2) break;
    const element = h(closer.char === '~' ? 'del' : width === 2 ? 'strong' : 'em');
    while (opener.node.nextSibling !== closer.node) element.append(opener.node.nextSibling);
    opener.node.after(element);
    delimiters.splice(i + 1, delimiters.length - i - 2);  // those between found no partner
    for (const end of [opener, closer]) {
      end.count -= width;
      end.node.data = end.char.repeat(end.count);
    }
    if (opener.count === 0) {
      opener.node.remove();
      delimiters.splice(i, 1);
      --i;
    }
  }
  if (closer.count === 0) {
    closer.node.remove();
    delimiters.pop();
  } else if (!closer.opens) {
    delimiters.pop();
  }
}

// "(address "title")" after a bracket.
function linkTarget(text, at) {
  if (text[at] !== '(') return null;
  const found = /^\(\s*(?:<([^<>\n]*)>|((?:[^\s()\\]|\\.|\((?:[^\s()\\]|\\.)*\))*))(?:\s+(?:"[^"]*"|'[^']*'))?\s*\)/.exec(text.slice(at, at + kMaxUrl));
  if (!found) return null;
  return {url: (found[1] ?? found[2]).replace(/\\([!-/:-@[-`{-~])/g, '$1'), end: at + found[0].length};
}

// An address in running text ends before the sentence's punctuation and a bracket that it did not open.
function bareAddress(text) {
  let address = /^[^\s<>"`\u0000-\u001f]*/.exec(text)[0];
  for (;;) {
    const shorter = address.replace(/[.,;:!?'*_~\]]+$/, '');
    const unopened = shorter.endsWith(')') && shorter.split(')').length > shorter.split('(').length;
    const next = unopened ? shorter.slice(0, -1) : shorter;
    if (next === address) return address;
    address = next;
  }
}
