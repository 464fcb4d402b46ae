// Speaking and listening through the browser's own interfaces, where it has them. Nothing of it is needed for the rest.
import {spokenText} from './markdown.js';

const Recognition = globalThis.SpeechRecognition ?? globalThis.webkitSpeechRecognition;
const synthesis = globalThis.speechSynthesis;

export const canListen = () => typeof Recognition === 'function';
export const canSpeak = () => Boolean(synthesis) && typeof SpeechSynthesisUtterance === 'function';

/** Voices, those that work without a network first. */
export function voices() {
  return canSpeak() ? synthesis.getVoices().slice().sort((a, b) => Number(b.localService) - Number(a.localService)) : [];
}

/** The ends of the sentences of `text` that are surely over: something follows them, or a line ends. */
export function sentenceEnds(text) {
  return [...text.matchAll(/[.!?…]+["'”’)\]]*(?=\s)|[。！？]+["”’」』）]*|\n+/g)]
      .filter((end) => !/(?:^|\s)(?:\d+|[A-Za-z]|Mr|Mrs|Ms|Dr|St|e\.g|i\.e|vs)\.$/.test(text.slice(Math.max(0, end.index - 6), end.index + end[0].length)))
      .map((end) => end.index + end[0].length);
}

/** Reads a reply aloud while it grows, sentence by sentence. */
export class Speaker {
  /** onchange: called when it begins and when it falls silent. */
  constructor(onchange) {
    this.onchange = onchange;
    this.voice = null;
    this.waiting = 0;
    this.turn = 0;
  }

  get speaking() {
    return this.waiting > 0;
  }

  /** A new reply: what was being read stops. */
  begin() {
    this.stop();
    this.said = 0;
    this.turn += 1;
  }

  /** The reply so far; `finished` when nothing more comes. */
  feed(markdown, finished) {
    if (!canSpeak()) return;
    const text = spokenText(markdown);
    // A mark that was completed changes the text before it; what was said stays said.
    const rest = text.slice(this.said);
    const end = finished ? rest.length : sentenceEnds(rest).at(-1) ?? 0;
    let from = 0;
    for (const to of [...sentenceEnds(rest.slice(0, end)).filter((one) => one < end), end]) {
      this.say(rest.slice(from, to).trim());
      from = to;
    }
    this.said += end;
  }

  say(sentence) {
    if (!/[\p{L}\p{N}]/u.test(sentence)) return;
    const utterance = new SpeechSynthesisUtterance(sentence);
    const voice = voices().find((one) => one.voiceURI === this.voice);
    if (voice) {
      utterance.voice = voice;
      utterance.lang = voice.lang;
    }
    const {turn} = this;
    this.waiting += 1;
    const over = () => {
      if (turn !== this.turn || this.waiting === 0) return;
      this.waiting -= 1;
      if (this.waiting === 0) this.onchange();
    };
    utterance.onend = over;
    utterance.onerror = over;
    synthesis.speak(utterance);
    if (this.waiting === 1) this.onchange();
  }

  stop() {
    this.turn += 1;
    const was = this.waiting > 0;
    this.waiting = 0;
    if (canSpeak()) synthesis.cancel();
    if (was) this.onchange();
  }
}

/** Hears one message. */
export class Listener {
  /** handlers: text(so far), end(whole text), problem(text), start(). */
  constructor(handlers) {
    this.handlers = handlers;
    this.recognition = null;
  }

  get listening() {
    return this.recognition !== null;
  }

  start() {
    if (!canListen() || this.listening) return;
    const recognition = new Recognition();
    recognition.lang = navigator.language;
    recognition.interimResults = true;
    recognition.continuous = false;
    let heard = '';
    recognition.onresult = (event) => {
      heard = [...event.results].map((result) => result[0].transcript).join('').trim();
      this.handlers.text(heard);
    };
    recognition.onerror = (event) => {
      if (event.error === 'aborted' || event.error === 'no-speech') return;
      this.handlers.problem(event.error === 'not-allowed' || event.error === 'service-not-allowed'
        ? 'The browser does not let this page use the microphone.'
        : event.error === 'network' ? 'This browser needs the network to recognise speech.' : `The browser could not listen (${event.error}).`);
    };
    recognition.onend = () => {
      if (this.recognition !== recognition) return;
      this.recognition = null;
      this.handlers.end(heard);
    };
    this.recognition = recognition;
    try {
      recognition.start();
      this.handlers.start();
    } catch (error) {
      this.recognition = null;
      this.handlers.problem(`The browser could not listen (${error.name}).`);
      this.handlers.end('');
    }
  }

  stop() {
    this.recognition?.stop();
  }
}
