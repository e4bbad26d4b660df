// Server-sent events out of a byte stream, as the HTML standard's "event stream interpretation" says.

export interface ServerEvent {
  readonly type: string;
  readonly data: string;
}

/** Takes text in pieces of any length and gives back the events that each piece completed. */
export class EventParser {
  #rest = "";
  #type = "";
  #data: string[] = [];
  #isStart = true;

  push(text: string): ServerEvent[] {
    if (this.#isStart && text !== "") {
      this.#isStart = false;
      if (text.startsWith("\uFEFF")) text = text.slice(1);
    }
    const events: ServerEvent[] = [];
    let rest = this.#rest + text;
    for (;;) {
      const end = rest.search(/[\r\n]/);
      // A carriage return at the very end may be the first half of a line end: wait for the next piece.
      if (end === -1 || (rest[end] === "\r" && end === rest.length - 1)) break;
      const event = this.#line(rest.slice(0, end));
      if (event) events.push(event);
      rest = rest.slice(end + (rest.startsWith("\r\n", end) ? 2 : 1));
    }
    this.#rest = rest;
    return events;
  }

  #line(line: string): ServerEvent | undefined {
    if (line === "") {
      const event = { type: this.#type || "message", data: this.#data.join("\n") };
      const isEmpty = this.#data.length === 0;
      this.#type = "";
      this.#data = [];
      return isEmpty ? undefined : event;
    }
    const colon = line.indexOf(":");
    const field = colon === -1 ? line : line.slice(0, colon);
    const value = colon === -1 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "event") this.#type = value;
    if (field === "data") this.#data.push(value);
    // `id` and `retry` have no use here: the first event after a reconnect is the present state. A comment has no field.
    return undefined;
  }
}

/** The events of a response body. `onBytes` is told of every piece, keep-alive comments too. */
export async function* readEvents(body: ReadableStream<Uint8Array>, onBytes?: () => void): AsyncGenerator<ServerEvent> {
  const parser = new EventParser();
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  const reader = body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      // What an unfinished event left behind is dropped, as the standard asks.
      if (done) return;
      onBytes?.();
      yield* parser.push(decoder.decode(value, { stream: true }));
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}
