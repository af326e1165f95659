// The heat strip: the units of a layer from top to bottom, time from left to right.

import { stepColours, valueStep } from "./colours.js";

const CELL_WIDTH = 4;
const LEAST_HEIGHT = 96;

/**
 * Draw a layer's values.
 *
 * @param {HTMLCanvasElement} canvas where; one pixel for each value, which the style makes larger.
 * @param {HTMLElement} mark lies over it and shows where the chosen unit is.
 * @param {?{values: Float32Array, H: number, unit: number, largest: number}} layer the values, (T, H), the chosen
 *     unit, counted from 0, and the value that has the last colour; null draws nothing.
 */
export function drawStrip(canvas, mark, layer) {
  canvas.hidden = layer === null;
  mark.hidden = layer === null;
  if (layer === null) return;
  const { values, H, unit, largest } = layer;
  const length = values.length / H;
  const colours = stepColours(canvas);
  canvas.width = length;
  canvas.height = H;
  canvas.style.width = `${length * CELL_WIDTH}px`;
  canvas.style.height = `${H * Math.max(1, Math.ceil(LEAST_HEIGHT / H))}px`;
  const context = canvas.getContext("2d");
  const image = context.createImageData(length, H);
  for (let time = 0; time < length; time++) {
    for (let row = 0; row < H; row++) {
      const colour = colours[valueStep(values[time * H + row], largest) + 8];
      image.data.set([...colour, 255], 4 * (row * length + time));
    }
  }
  context.putImageData(image, 0, 0);
  const height = canvas.offsetHeight / H;
  mark.style.top = `${unit * height - 1}px`;
  mark.style.height = `${height + 2}px`;
  mark.style.width = canvas.style.width;
}

/**
 * Return the unit and the time that was pointed at, both counted from 0; null outside.
 *
 * @param {HTMLCanvasElement} canvas the strip.
 * @param {MouseEvent} event a click on it.
 */
export function placeInStrip(canvas, event) {
  const box = canvas.getBoundingClientRect();
  const time = Math.floor(((event.clientX - box.left) / box.width) * canvas.width);
  const unit = Math.floor(((event.clientY - box.top) / box.height) * canvas.height);
  const isInside = time >= 0 && time < canvas.width && unit >= 0 && unit < canvas.height;
  return isInside ? { unit, time } : null;
}
