// Small helpers for the document. Text becomes text nodes here and nowhere else becomes markup.

/** An element: h('a', {href, class: 'x', onclick: f, 'aria-label': 'y'}, child, 'text', null). */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const kSvg = 'http://www.w3.org/2000/svg';

// Line drawings on a grid of 20.
const kIcons = {
  plus: 'M10 4v12M4 10h12',
  menu: 'M3 6h14M3 10h14M3 14h14',
  close: 'M5 5l10 10M15 5L5 15',
  search: 'M9 4a5 5 0 1 0 0 10a5 5 0 0 0 0-10M13 13l4 4',
  send: 'M10 16V4M5 9l5-5l5 5',
  stop: 'M6 6h8v8H6z',
  copy: 'M7 7h9v9H7zM4 13V4h9',
  check: 'M4 10.5l4 4l8-9',
  again: 'M15.5 8A6 6 0 1 0 16 11.5M16 4v4h-4',
  edit: 'M4 16l.8-3.5L13.5 3.8l2.7 2.7L7.5 15.2z',
  trash: 'M4 6h12M8 6V4h4v2M5.5 6l.8 10.5h7.4L14.5 6',
  left: 'M12 5l-5 5l5 5',
  right: 'M8 5l5 5l-5 5',
  down: 'M10 4v12M5 11l5 5l5-5',
  mic: 'M10 3a2.2 2.2 0 0 0-2.2 2.2v4.6a2.2 2.2 0 0 0 4.4 0V5.2A2.2 2.2 0 0 0 10 3M5 9.5a5 5 0 0 0 10 0M10 14.5V17',
  speak: 'M4 8v4h2.5L10 15V5L6.5 8zM13 7.5a3.5 3.5 0 0 1 0 5M15 5.5a6.5 6.5 0 0 1 0 9',
  settings: 'M3 6h7M14 6h3M12 4v4M3 14h3M10 14h7M8 12v4',
  help: 'M7.5 7.5a2.5 2.5 0 1 1 3.6 2.2c-.8.4-1.1.9-1.1 1.8M10 14.5v.3',
  moon: 'M15.5 12A6.5 6.5 0 0 1 8 4.5a6 6 0 1 0 7.5 7.5',
};

/** A decorative drawing: its button carries the name. */
export function icon(name) {
  const svg = document.createElementNS(kSvg, 'svg');
  svg.setAttribute('viewBox', '0 0 20 20');
  svg.setAttribute('class', 'icon');
  svg.setAttribute('aria-hidden', 'true');
  const path = document.createElementNS(kSvg, 'path');
  path.setAttribute('d', kIcons[name]);
  svg.append(path);
  return svg;
}

/** A button with a drawing and a name for those who cannot see it. */
export function iconButton(name, label, onclick, attributes = {}) {
  return h('button', {type: 'button', class: 'icon-button', 'aria-label': label, title: label, onclick, ...attributes}, icon(name));
}

export const byId = (id) => document.getElementById(id);

/** 128 random bits in hex. Not crypto.randomUUID: that one is missing where the page is not served over TLS. */
export function randomId() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** Text to the clipboard, also where the page is not served over TLS. True if it worked. */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = h('textarea', {class: 'visually-hidden', 'aria-hidden': 'true', tabindex: '-1'});
    area.value = text;
    const focused = document.activeElement;
    document.body.append(area);
    area.select();
    const done = document.execCommand('copy');
    area.remove();
    focused?.focus?.();
    return done;
  }
}

/** A button that copies what `text()` gives, and says that it did. */
export function copyButton(label, text, attributes = {}) {
  const button = iconButton('copy', label, async () => {
    const done = await copyText(text());
    button.replaceChildren(icon(done ? 'check' : 'close'));
    announce(done ? 'Copied' : 'The browser refused to copy');
    setTimeout(() => button.replaceChildren(icon('copy')), 1500);
  }, attributes);
  return button;
}

/** Tells screen readers, after what they are reading now. */
export function announce(text) {
  const region = byId('announcer');
  if (!region) return;
  region.textContent = '';
  // The same text twice in a row is read twice only if the region was empty between.
  requestAnimationFrame(() => { region.textContent = text; });
}
