/** Turns progress reports into a rate that follows changes within a few seconds and does not jump. */
export class RateMeter {
  private samples: { at: number; sent: number }[] = [];

  /** window is in milliseconds. */
  constructor(private readonly window = 5000) {}

  /** Notes that sent bytes were out at time at (milliseconds). A sent that falls, after a resume, starts anew. */
  note(at: number, sent: number): void {
    const last = this.samples.at(-1);
    if (last && sent < last.sent) {
      this.samples = [];
    }
    this.samples.push({ at, sent });
    const oldest = at - this.window;
    while (this.samples.length > 2 && (this.samples[1]?.at ?? at) <= oldest) {
      this.samples.shift();
    }
  }

  reset(): void {
    this.samples = [];
  }

  /** Bytes per second; 0 while it is not known. */
  rate(): number {
    const first = this.samples[0];
    const last = this.samples.at(-1);
    if (!first || !last || last.at - first.at < 250) {
      return 0;
    }
    return ((last.sent - first.sent) * 1000) / (last.at - first.at);
  }
}
