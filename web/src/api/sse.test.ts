import { describe, expect, it } from "vitest";
import { EventParser, readEvents, type ServerEvent } from "./sse";

const message = (data: string, type = "message"): ServerEvent => ({ type, data });
const parse = (...pieces: string[]) => {
  const parser = new EventParser();
  return pieces.flatMap((piece) => parser.push(piece));
};

describe("EventParser", () => {
  it.each([
    ["one event", ["data: a\n\n"], [message("a")]],
    ["two events in one piece", ["data: a\n\ndata: b\n\n"], [message("a"), message("b")]],
    ["lines of one event joined", ["data: a\ndata: b\n\n"], [message("a\nb")]],
    ["only one space after the colon taken", ["data:  a\n\ndata:b\n\n"], [message(" a"), message("b")]],
    ["a type, which does not last", ["event: x\ndata: a\n\ndata: b\n\n"], [message("a", "x"), message("b")]],
    ["comments, unknown fields and ids passed over", [":\n\n: hi\nid: 4\nnope: 1\nretry: 9\ndata: a\n\n"], [message("a")]],
    ["an event without data dropped", ["event: x\n\ndata: a\n\n"], [message("a")]],
    ["empty data kept", ["data\n\n"], [message("")]],
    ["a field without colon inside an event", ["data\ndata\n\n"], [message("\n")]],
    ["carriage returns", ["data: a\r\rdata: b\r\r", "data: c\n\n"], [message("a"), message("b"), message("c")]],
    ["line ends cut in half", ["data: a\r", "\n\r", "\ndata: b\r\n", "\r\n"], [message("a"), message("b")]],
    ["a byte order mark", ["\uFEFFdata: a\n\n"], [message("a")]],
    ["no event before its empty line", ["data: a\n"], []],
  ])("%s", (_, pieces, events) => {
    expect(parse(...pieces)).toEqual(events);
  });

  it("does not depend on where the pieces end", () => {
    const text = ': hello\r\nevent: changed\r\ndata: {"a":\r\ndata: 1}\r\n\r\ndata: ü\n\n';
    expect(parse(...text)).toEqual(parse(text));
    expect(parse(text)).toEqual([message('{"a":\n1}', "changed"), message("ü")]);
  });
});

describe("readEvents", () => {
  it("reads characters that are cut between chunks, and lets go of the body when left", async () => {
    const bytes = new TextEncoder().encode("data: größer\n\ndata: b\n\n");
    let isCancelled = false;
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => bytes.forEach((byte) => controller.enqueue(Uint8Array.of(byte))),
      cancel: () => {
        isCancelled = true;
      },
    });
    for await (const event of readEvents(body)) {
      expect(event).toEqual(message("größer"));
      break;
    }
    expect(isCancelled).toBe(true);
  });
});
