// Whether the server answers, which model it has, how full the context is.
import {getJson} from './api.js';
import {byId} from './dom.js';

const kCalm = 20000;  // between looks while all is well
const kEager = 2000;  // while the server is away

const compact = (count) => (count < 10000 ? String(count) : `${Math.round(count / 1000)}k`);

export class ServerState extends EventTarget {
  /** Events: 'online', 'offline', 'key' (the server wants one). */
  constructor() {
    super();
    this.state = 'unknown';  // 'online', 'offline', 'busy', 'key'
    this.model = null;
    this.contextLength = null;
    this.timer = null;
    document.addEventListener('visibilitychange', () => document.visibilityState === 'visible' && this.look());
    addEventListener('online', () => this.look());
  }

  /** Looks now, and then again and again. newKey: a key was just given; if it is wrong too, that is news. */
  async look({newKey = false} = {}) {
    clearTimeout(this.timer);
    const turn = (this.turn = (this.turn ?? 0) + 1);
    try {
      const abort = AbortSignal.timeout(8000);
      if (!this.model || this.state !== 'online') {
        const models = await getJson('/v1/models', abort);
        const model = models.data?.[0] ?? {};
        this.model = typeof model.id === 'string' ? model.id : 'model';
        this.contextLength = [model.context_length, model.max_model_len, model.meta?.n_ctx].find((value) => Number.isFinite(value) && value > 0) ?? null;
      } else {
        await getJson('/health', abort);
      }
      this.set('online');
    } catch (error) {
      if (newKey) this.state = 'unknown';
      this.set(error.kind === 'key' ? 'key' : error.kind === 'busy' ? 'busy' : 'offline');
    }
    if (turn !== this.turn) return;
    const pause = this.state === 'online' ? kCalm : kEager;
    if (document.visibilityState === 'visible' && this.state !== 'key') this.timer = setTimeout(() => this.look(), pause);
  }

  /** What a request has just shown. */
  set(state) {
    const before = this.state;
    this.state = state;
    const text = {online: this.model ?? 'Connected', offline: 'No answer', busy: 'Not ready', key: 'Key needed', unknown: 'Connecting'}[state];
    byId('server-state').dataset.state = state;
    byId('server-text').textContent = text;
    byId('server-state').title = state === 'online' ? `The server answers; model ${text}` : text;
    if (state !== before) this.dispatchEvent(new Event(state));
  }

  /** A request failed to reach the server: look again soon. */
  lost() {
    this.set('offline');
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.look(), kEager);
  }

  /** Tokens that the shown conversation takes, as the last reply's usage said; null if not known. */
  showContext(tokens) {
    const known = Number.isFinite(tokens) && tokens > 0;
    byId('context').hidden = !known;
    if (!known) return;
    const meter = byId('context-meter');
    meter.hidden = !this.contextLength;
    if (this.contextLength) meter.value = Math.min(1, tokens / this.contextLength);
    byId('context-text').textContent = this.contextLength ? `${compact(tokens)} of ${compact(this.contextLength)} tokens` : `${compact(tokens)} tokens`;
    byId('context').title = 'Context that this conversation uses';
  }
}
