import type { ReactNode } from 'react';

const icon = (content: ReactNode) => (
  <svg viewBox="0 0 20 20" width="16" height="16" fill="none" stroke="currentColor" strokeWidth="1.6"
    strokeLinecap="round" strokeLinejoin="round" aria-hidden="true">
    {content}
  </svg>
);

export const icons = {
  bell: icon(<path d="M5 14h10l-1.4-2V8.6a3.6 3.6 0 0 0-7.2 0V12zM8.5 16.5h3" />),
  pencil: icon(<path d="m4 16 .8-3.4 8.4-8.4 2.6 2.6-8.4 8.4zM11.6 5.8l2.6 2.6" />),
  bin: icon(<path d="M4 6h12M8 6V4h4v2M6 6l.7 10h6.6L14 6" />),
  left: icon(<path d="m12 5-5 5 5 5" />),
  right: icon(<path d="m8 5 5 5-5 5" />),
  warning: icon(<path d="m10 3.5 7 12.5H3zM10 8.5v3.5M10 14v.1" />),
};
