import { useEffect, useRef, useState } from 'react';

export type LiveState = 'connecting' | 'live' | 'offline';

export type Change =
  | { type: 'change'; entity: 'shift' | 'person' | 'reminder'; action: 'created' | 'updated' | 'deleted'; id: number }
  | { type: 'resync' };

/** Keeps a WebSocket to /api/live open, and calls `onChange` for each change and after each reconnect. */
export function useLive(onChange: (change: Change) => void): LiveState {
  const [state, setState] = useState<LiveState>('connecting');
  const handler = useRef(onChange);
  useEffect(() => {
    handler.current = onChange;
  });

  useEffect(() => {
    let socket: WebSocket | undefined;
    let timer: number | undefined;
    let wait = 500;
    let opened = false;
    let closed = false;

    const connect = () => {
      const url = new URL('/api/live', location.href);
      url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
      const current = new WebSocket(url);
      socket = current;
      current.onopen = () => {
        setState('live');
        wait = 500;
        if (opened) handler.current({ type: 'resync' });
        opened = true;
      };
      current.onmessage = (event) => {
        const message = JSON.parse(String(event.data));
        if (message.type === 'change' || message.type === 'resync') handler.current(message);
      };
      current.onclose = () => {
        if (closed) return;
        setState('offline');
        timer = window.setTimeout(connect, wait);
        wait = Math.min(wait * 2, 8000);
      };
    };

    // Not at once: in development React mounts twice, and the first socket would be for nothing.
    timer = window.setTimeout(connect, 0);
    return () => {
      closed = true;
      window.clearTimeout(timer);
      socket?.close();
    };
  }, []);

  return state;
}
