// The messages of the shown branch. Each node of the conversation has one article; a streaming one is updated in place.
import {h, icon, iconButton, copyButton} from './dom.js';
import {branch, siblings} from './conversation.js';
import {MarkdownView} from './markdown.js';

const seconds = (ms) => (ms < 10 ? `${ms.toFixed(1)} ms` : ms < 950 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(ms < 9950 ? 1 : 0)} s`);

/** What stands under a reply: rate, time to the first token, tokens. */
export function statsText(stats) {
  if (!stats) return '';
  const parts = [];
  if (stats.rate) parts.push(`${stats.rate >= 100 ? Math.round(stats.rate) : stats.rate.toFixed(1)} tokens/s`);
  if (stats.first !== undefined) parts.push(`first token ${seconds(stats.first)}`);
  if (stats.tokens) parts.push(`${stats.tokens} token${stats.tokens === 1 ? '' : 's'}`);
  return parts.join(' · ');
}

/** What the server said of the prompt. */
function promptText(stats) {
  if (!stats?.prompt) return '';
  return `Prompt of ${stats.prompt} tokens${stats.cached ? `, ${stats.cached} of them remembered from before` : ''}`;
}

const kFinish = {
  length: 'The reply reached its token limit.',
  content_filter: 'The server held back the rest.',
};

export class Thread {
  /** actions: edit(node, text), regenerate(node), show(id), speak(node), canSpeak(), retry(node), answer(node), stop(). */
  constructor(container, scroller, toEnd, actions) {
    this.container = container;
    this.scroller = scroller;
    this.toEnd = toEnd;
    this.actions = actions;
    this.views = new Map();  // node id → {article, update}
    this.conversation = null;
    this.following = true;
    scroller.addEventListener('scroll', () => this.noticeScroll(), {passive: true});
    toEnd.addEventListener('click', () => this.scrollToEnd(true));
    // Only what a reply adds is followed, not an editor or a thought that somebody opens.
    new ResizeObserver(() => this.following && this.busy && this.scrollToEnd()).observe(container);
  }

  /** Shows a conversation's branch; articles that are on it already stay. */
  show(conversation, busy) {
    if (this.conversation !== conversation) {
      this.conversation = conversation;
      this.views.clear();
      this.container.replaceChildren();
      this.following = true;
    }
    this.busy = busy;
    const path = branch(conversation);
    const wanted = new Set(path.map((node) => node.id));
    for (const [id, view] of this.views) {
      if (!wanted.has(id)) {
        view.article.remove();
        this.views.delete(id);
      }
    }
    path.forEach((node, i) => {
      let view = this.views.get(node.id);
      if (!view || view.node !== node) {
        view?.article.remove();
        view = node.role === 'user' ? this.userView(node) : this.replyView(node);
        this.views.set(node.id, view);
      }
      if (this.container.children[i] !== view.article) this.container.insertBefore(view.article, this.container.children[i] ?? null);
      view.update();
    });
    if (this.following) this.scrollToEnd();
  }

  update(node) {
    this.views.get(node.id)?.update();
  }

  /** Opens the editor of the last message of the user. */
  editLast() {
    const last = branch(this.conversation).filter((node) => node.role === 'user').at(-1);
    if (last && !this.busy) this.views.get(last.id)?.edit();
  }

  noticeScroll() {
    const {scrollTop, scrollHeight, clientHeight} = this.scroller;
    this.following = scrollHeight - scrollTop - clientHeight < 60;
    this.toEnd.hidden = this.following;
  }

  scrollToEnd(byUser = false) {
    this.scroller.scrollTop = this.scroller.scrollHeight;
    this.following = true;
    this.toEnd.hidden = true;
    if (byUser) this.scroller.focus?.();
  }

  branches(node) {
    const all = siblings(this.conversation, node);
    if (all.length < 2) return null;
    const at = all.indexOf(node);
    const what = node.role === 'user' ? 'version' : 'reply';
    const step = (by, name, label) => iconButton(name, label, () => this.actions.show(all[at + by].id),
                                                 {disabled: all[at + by] === undefined || this.busy});
    return h('span', {class: 'branches', role: 'group', 'aria-label': `${what} ${at + 1} of ${all.length}`},
             step(-1, 'left', `Previous ${what}`), h('span', {class: 'branch-count'}, `${at + 1}/${all.length}`),
             step(1, 'right', `Next ${what}`));
  }

  userView(node) {
    const body = h('div', {class: 'said'}, node.content);
    const actions = h('div', {class: 'actions'});
    const note = h('div', {class: 'note', hidden: true}, h('p', {}, 'This message has no reply.'),
                   h('button', {type: 'button', class: 'secondary', onclick: () => this.actions.answer(node)}, 'Ask for one'));
    const article = h('article', {class: 'turn user', 'aria-label': 'You'}, h('p', {class: 'speaker', 'aria-hidden': 'true'}, 'You'),
                      h('div', {class: 'turn-body'}, body, note, actions));
    let editing = false;
    const view = {
      node,
      article,
      update: () => {
        if (editing) return;
        body.textContent = node.content;
        note.hidden = this.busy || this.conversation.leaf !== node.id;
        actions.replaceChildren(
            iconButton('edit', 'Edit this message', () => view.edit(), {disabled: this.busy}),
            copyButton('Copy this message', () => node.content), ...[this.branches(node)].filter(Boolean));
      },
      edit: () => {
        if (editing) return;
        editing = true;
        const area = h('textarea', {class: 'editor', 'aria-label': 'Edit this message', rows: Math.min(12, node.content.split('\n').length + 1)});
        area.value = node.content;
        const close = () => {
          editing = false;
          form.replaceWith(body);
          view.update();
          actions.hidden = false;
          actions.querySelector('button')?.focus();
        };
        const form = h('form', {class: 'edit-form', 'aria-label': 'Edit', onsubmit: (event) => {
          event.preventDefault();
          const text = area.value.trim();
          if (!text || this.busy) return;
          close();
          if (text !== node.content) this.actions.edit(node, text);
        }}, area, h('div', {class: 'edit-row'}, h('button', {type: 'submit', class: 'primary'}, 'Send again'),
                    h('button', {type: 'button', class: 'secondary', onclick: close}, 'Cancel')));
        area.addEventListener('keydown', (event) => {
          if (event.key === 'Escape') {
            event.stopPropagation();
            close();
          } else if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
            event.preventDefault();
            form.requestSubmit();
          }
        });
        body.replaceWith(form);
        actions.hidden = true;
        this.following = false;
        area.focus();
        area.scrollIntoView({block: 'nearest'});
      },
    };
    return view;
  }

  replyView(node) {
    const thought = h('div', {class: 'thought'});
    const summary = h('summary', {}, 'Thinking');
    const thinking = h('details', {class: 'thinking', hidden: true}, summary, thought);
    const prose = h('div', {class: 'prose'});
    const note = h('div', {class: 'note', hidden: true});
    const actions = h('div', {class: 'actions'});
    const stats = h('p', {class: 'stats'});
    const article = h('article', {class: 'turn reply', 'aria-label': 'Reply'}, h('p', {class: 'speaker', 'aria-hidden': 'true'}, 'Qwen'),
                      h('div', {class: 'turn-body'}, thinking, prose, note, h('div', {class: 'reply-foot'}, stats, actions)));
    const text = new MarkdownView(prose);
    const thoughtText = new MarkdownView(thought);
    let opened = false;  // by itself, while it is live
    let touched = false;
    summary.addEventListener('click', () => { touched = true; });
    let shown = '';
    const view = {
      node,
      article,
      update: () => {
        const live = node.state === 'streaming';
        article.setAttribute('aria-busy', String(live));
        article.classList.toggle('live', live);
        article.classList.toggle('waiting', live && !node.content && !node.reasoning);
        thinking.hidden = !node.reasoning;
        if (node.reasoning) {
          thoughtText.update(node.reasoning);
          const now = live && !node.content;
          thinking.classList.toggle('now', now);
          summary.textContent = now ? 'Thinking' : node.stats?.thought ? `Thought for ${seconds(node.stats.thought)}` : 'Thought';
          if (!touched && now !== opened) {
            opened = now;
            thinking.open = now;
          }
        }
        text.update(node.content);
        const state = `${node.state}|${node.waiting ?? ''}|${JSON.stringify(node.problem ?? null)}|${node.finish}|${this.busy}|${siblings(this.conversation, node).length}`;
        stats.textContent = statsText(node.stats);
        stats.title = promptText(node.stats);
        if (state === shown) return;
        shown = state;
        this.fillNote(note, node);
        actions.replaceChildren(...(live ? [] : [
          copyButton('Copy this reply', () => node.content),
          iconButton('again', 'New reply', () => this.actions.regenerate(node), {disabled: this.busy}),
          this.actions.canSpeak() && node.content ? iconButton('speak', 'Read this reply aloud', () => this.actions.speak(node)) : null,
          this.branches(node),
        ].filter(Boolean)));
      },
    };
    return view;
  }

  // What is to say about a reply that is not simply whole.
  fillNote(note, node) {
    const parts = [];
    note.className = 'note';
    if (node.waiting) {
      parts.push(h('p', {}, node.waiting), h('button', {type: 'button', class: 'secondary', onclick: () => this.actions.stop()}, 'Do not wait'));
    } else if (node.problem) {
      note.classList.add('problem');
      parts.push(h('p', {role: 'alert'}, node.problem.text));
      if (node.problem.retry) {
        parts.push(h('button', {type: 'button', class: 'secondary', disabled: this.busy, onclick: () => this.actions.retry(node)}, icon('again'), 'Try again'));
      }
    } else if (node.state === 'stopped') {
      parts.push(h('p', {}, 'You stopped this reply.'));
    } else if (kFinish[node.finish]) {
      parts.push(h('p', {}, kFinish[node.finish]));
    } else if (node.state === 'done' && !node.content) {
      parts.push(h('p', {}, 'The reply is empty.'));
    }
    note.replaceChildren(...parts);
    note.hidden = parts.length === 0;
  }
}
