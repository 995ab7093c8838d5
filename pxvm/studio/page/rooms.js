<<<<<<< HEAD
import{n as e}from"./assets/film-VS_w8OeN.js";import{t}from"./assets/gpu-CgRzvvBd.js";import{n}from"./assets/machine-DKGIMO3C.js";import{t as r}from"./assets/memory-CtQH1Wau.js";export{e as film,t as gpu,n as machine,r as memory};
=======
import{n as e}from"./assets/film-VS_w8OeN.js";import{t}from"./assets/gpu-Byx1Y2Rc.js";import{n}from"./assets/machine-SL5erZnz.js";import{t as r}from"./assets/memory-yb743WAB.js";export{e as film,t as gpu,n as machine,r as memory};
>>>>>>> mem
