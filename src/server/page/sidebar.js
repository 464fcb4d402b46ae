// The list of conversations: search, rename, delete with a way back; a drawer on narrow screens.
import {byId, h, icon, iconButton} from './dom.js';
import {matches, shownTitle} from './conversation.js';

const kDay = 24 * 3600 * 1000;

function period(time) {
  const today = new Date().setHours(0, 0, 0, 0);
  if (time >= today) return 'Today';
  if (time >= today - kDay) return 'Yesterday';
  if (time >= today - 7 * kDay) return 'This week';
  return new Date(time).toLocaleDateString(undefined, {month: 'long', year: 'numeric'});
}

export class Sidebar {
  /** actions: open(id), rename(id, title), remove(id), create(). */
  constructor(actions) {
    this.actions = actions;
    this.list = byId('conversations');
    this.search = byId('search');
    this.nav = byId('sidebar');
    this.scrim = byId('scrim');
    this.opener = byId('open-sidebar');
    this.opener.append(icon('menu'));
    byId('close-sidebar').append(icon('close'));
    byId('new-conversation').prepend(icon('plus'));
    byId('open-settings').prepend(icon('settings'));
    byId('open-help').prepend(icon('help'));
    this.narrow = matchMedia('(max-width: 860px)');
    this.narrow.addEventListener('change', () => this.setOpen(false));
    this.setOpen(false);

    this.search.addEventListener('input', () => this.render());
    this.search.addEventListener('keydown', (event) => {
      if (event.key === 'Enter' || event.key === 'ArrowDown') {
        event.preventDefault();
        const first = this.list.querySelector('.conversation-open');
        if (event.key === 'Enter') first?.click();
        else first?.focus();
      } else if (event.key === 'Escape' && this.search.value) {
        event.stopPropagation();
        this.search.value = '';
        this.render();
      }
    });
    this.list.addEventListener('keydown', (event) => this.moveFocus(event));
    byId('new-conversation').addEventListener('click', () => {
      this.setOpen(false);
      this.actions.create();
    });
    this.opener.addEventListener('click', () => this.setOpen(true));
    byId('close-sidebar').addEventListener('click', () => this.setOpen(false));
    this.scrim.addEventListener('click', () => this.setOpen(false));
    this.nav.addEventListener('keydown', (event) => {
      if (event.key === 'Escape' && this.isOpen) {
        event.stopPropagation();
        this.setOpen(false);
      }
    });
  }

  /** As a drawer. On wide screens the list is always there. */
  setOpen(open) {
    const was = this.isOpen;
    this.isOpen = open && this.narrow.matches;
    this.nav.classList.toggle('open', this.isOpen);
    // Behind the edge of the screen nothing can have the focus; beside the drawer neither.
    this.nav.inert = this.narrow.matches && !this.isOpen;
    byId('main').inert = this.isOpen;
    this.scrim.hidden = !this.isOpen;
    this.opener.setAttribute('aria-expanded', String(this.isOpen));
    if (this.isOpen) byId('close-sidebar').focus();
    else if (was) this.opener.focus();
  }

  focusSearch() {
    this.setOpen(true);
    this.search.focus();
    this.search.select();
  }

  /** all: conversations; current: id; busy: set of ids that a reply streams into. */
  show(all, current, busy) {
    this.all = all;
    this.current = current;
    this.busy = busy;
    this.render();
  }

  render() {
    if (this.renaming) return;
    const words = this.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = this.all.filter((one) => one.nodes.length > 0 && matches(one, words)).sort((a, b) => b.updated - a.updated);
    const focused = document.activeElement?.closest?.('.conversation')?.dataset.id;
    const parts = [];
    let group = null;
    let name = null;
    for (const one of found) {
      const when = period(one.updated);
      if (when !== name) {
        name = when;
        group = h('ul', {'aria-label': when});
        parts.push(h('p', {class: 'period', 'aria-hidden': 'true'}, when), group);
      }
      group.append(this.item(one));
    }
    if (parts.length === 0) {
      parts.push(h('p', {class: 'none'}, words.length > 0 ? 'Nothing found.' : 'What you talk about is listed here. It stays in this browser.'));
    }
    this.list.replaceChildren(...parts);
    if (focused) this.list.querySelector(`[data-id="${CSS.escape(focused)}"] .conversation-open`)?.focus();
  }

  item(one) {
    const title = shownTitle(one);
    const current = one.id === this.current;
    const open = h('button', {type: 'button', class: 'conversation-open', 'aria-current': current ? 'true' : null, title, onclick: () => {
      this.setOpen(false);
      this.actions.open(one.id);
    }}, h('span', {class: 'conversation-title'}, title), this.busy.has(one.id) ? h('span', {class: 'writing'}, h('span', {class: 'visually-hidden'}, 'a reply is being written')) : null);
    const item = h('li', {class: 'conversation', 'data-id': one.id}, open,
                   h('span', {class: 'conversation-actions'},
                     iconButton('edit', `Rename “${title}”`, () => this.rename(item, one)),
                     iconButton('trash', `Delete “${title}”`, () => this.remove(item, one))));
    return item;
  }

  remove(item, one) {
    const items = [...this.list.querySelectorAll('.conversation')];
    const next = items[items.indexOf(item) + 1] ?? items[items.indexOf(item) - 1];
    const id = next?.dataset.id;
    this.actions.remove(one.id);
    const after = id && this.list.querySelector(`[data-id="${CSS.escape(id)}"] .conversation-open`);
    (after || byId('new-conversation')).focus();
  }

  rename(item, one) {
    const input = h('input', {class: 'rename', 'aria-label': 'Name of the conversation', maxlength: '120'});
    input.value = shownTitle(one);
    this.renaming = true;
    const close = (keep) => {
      if (!this.renaming) return;
      this.renaming = false;
      const title = input.value.trim();
      if (keep && title) this.actions.rename(one.id, title);
      this.render();
      this.list.querySelector(`[data-id="${CSS.escape(one.id)}"] .conversation-open`)?.focus();
    };
    input.addEventListener('keydown', (event) => {
      if (event.isComposing) return;
      if (event.key === 'Enter' || event.key === 'Escape') {
        event.preventDefault();
        event.stopPropagation();
        close(event.key === 'Enter');
      }
    });
    input.addEventListener('blur', () => close(true));
    item.replaceChildren(input);
    input.focus();
    input.select();
  }

  moveFocus(event) {
    if (event.key !== 'ArrowDown' && event.key !== 'ArrowUp') return;
    const buttons = [...this.list.querySelectorAll('.conversation-open')];
    const at = buttons.indexOf(event.target.closest('.conversation')?.querySelector('.conversation-open'));
    if (at < 0) return;
    event.preventDefault();
    const to = buttons[at + (event.key === 'ArrowDown' ? 1 : -1)];
    if (to) to.focus();
    else if (event.key === 'ArrowUp') this.search.focus();
  }
}
