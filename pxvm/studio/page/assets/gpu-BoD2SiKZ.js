import{n as e}from"./rolldown-runtime-XKyaHtl9.js";import{f as t,p as n,t as r}from"./tables-C2y_x3xv.js";import{t as i}from"./machine-CTNIs9qK.js";var a=class extends n{},o=class extends n{},s=new Map(Object.entries(r.modes).map(([e,t])=>[e,{name:e,...t,names:t.names}]));function c(e){let t=s.get(e);if(!t)throw Error(`no mode ${e}`);return t}var l=r.opcodes.map(e=>({...e,flow:e.flow,glyph:String.fromCharCode(e.code),operands:e.operands.map(c),parameters:e.parameters.map(e=>({...e,mode:c(e.mode)}))}));function u(e){let t=l.filter(t=>t.dialect===e),n=new Map(t.map(e=>[e.code,e]));for(let e of t)e.legacy!==null&&n.set(e.legacy,e);return n}var d=r.dtypes,f=r.roles,p=r.state,m=r.multiples,h=r.format,g=r.limits,_=r.statuses,v=r.matrix;r.png;var y=new Map(Object.entries(r.dtypes).map(([e,t])=>[t,e])),b=new Map(Object.entries(r.roles).map(([e,t])=>[t,e]));function ee(e){let{width:t}=e,n=[];for(let r of e.descriptors){if(!r.isTensor)continue;let[e,i]=[r.start%t,Math.floor(r.start/t)],a=r.per?Math.min(r.per,r.rows)*r.rowWords:t,o=r.name||`descriptor ${r.index}`;n.push({name:o,y0:i,y1:i+r.imageRows(t),x0:e,x1:e+a,alone:r.role!==f.CONSTANT})}for(let{name:r,start:i,count:a}of e.reserved){let e=i+a,[o,s]=[Math.ceil(i/t),Math.floor(e/t)],c=[[i,Math.min(o*t,e)],[o*t,s*t],[Math.max(s,o)*t,e]];for(let[e,i]of c){if(e>=i)continue;let[a,o]=[e%t,Math.floor(e/t)],s=Math.max(Math.floor((i-e)/t),1);n.push({name:r,y0:o,y1:o+s,x0:a,x1:a+Math.min(i-e,t),alone:!0})}}return n}function te(e,t){return e.y0<t.y1&&e.y1>t.y0&&e.x0<t.x1&&e.x1>t.x0}function ne(e){let t=ee(e);if(re(t))for(let e of t){let n=e.alone?t.find(t=>t!==e&&te(e,t)):void 0;if(n)throw new a(`${e.name} and ${n.name} overlap at x=${Math.max(e.x0,n.x0)}, y=${Math.max(e.y0,n.y0)}; what is written must stand alone`)}}function re(e){let t=[];for(let n of[...e].sort((e,t)=>e.y0-t.y0)){if(t=t.filter(e=>e.y1>n.y0),t.some(e=>(e.alone||n.alone)&&te(e,n)))return!0;t.push(n)}return!1}var ie=class{index;x;y;code;op;operands;constructor(e,t,n,r,i,a){this.index=e,this.x=t,this.y=n,this.code=r,this.op=i,this.operands=a}toString(){let e=this.code===this.op.code?this.op.glyph:String(this.code),t=[...this.operands];for(;t.length&&t[t.length-1]===0;)t.pop();return[e,...t].join(`@`)}get place(){return`instruction ${this.index} at x=${this.x}, y=${this.y} (${this}, ${this.op.name})`}},ae={"\n":`\\n`,"\r":`\\r`,"	":`\\t`,"\\":`\\\\`};function oe(e){let t=e.includes(`'`)&&!e.includes(`"`)?`"`:`'`;return t+[...e].map(e=>{let n=e.codePointAt(0)??0;return e===t?`\\${t}`:ae[e]?ae[e]:se(e)?e:n<256?`\\x${n.toString(16).padStart(2,`0`)}`:n<65536?`\\u${n.toString(16).padStart(4,`0`)}`:`\\U${n.toString(16).padStart(8,`0`)}`}).join(``)+t}function se(e){return e===` `||!/[\p{C}\p{Z}]/u.test(e)}function ce(e){return e.length===1?`(${e[0]},)`:`(${e.join(`, `)})`}function x(e){if(Number.isNaN(e))return`nan`;if(!Number.isFinite(e))return e>0?`inf`:`-inf`;if(Object.is(e,-0))return`-0.0`;let[t,n]=e.toExponential().split(`e`),r=Number(n);if(e!==0&&(r<-4||r>=16))return`${t}e${r<0?`-`:`+`}${String(Math.abs(r)).padStart(2,`0`)}`;let i=r<-6?e.toFixed(20):String(e);return i.includes(`.`)?i:`${i}.0`}function le(e){let t=ue(e);if(!t)return{text:new TextDecoder(`utf-8`,{ignoreBOM:!0}).decode(e)};let[n,r,i]=t,a=(e[n]??0).toString(16).padStart(2,`0`);return{error:`'utf-8' codec can't decode ${r-n===1?`byte 0x${a} in position ${n}`:`bytes in position ${n}-${r-1}`}: ${i}`}}function ue(e){let t=0;for(;t<e.length;){let n=e[t]??0;if(n<128){t+=1;continue}let r=n>=194&&n<=223?1:n>=224&&n<=239?2:n>=240&&n<=244?3:0;if(!r)return[t,t+1,`invalid start byte`];let i=n===224?160:n===240?144:128,a=n===237?159:n===244?143:191;for(let n=1;n<=r;n++){if(t+n>=e.length)return[t,e.length,`unexpected end of data`];let r=e[t+n]??0;if(!(n===1?r>=i&&r<=a:r>=128&&r<=191))return[t,t+n,`invalid continuation byte`]}t+=r+1}return null}function de(e,t){let n=Math.ceil(t/4);switch(e){case d.I8:return n;case d.I16:return Math.ceil(t/2);case d.ACT1:return n+1;case d.ACT2:return 2*n+1;case d.PARAMS:return 0;case d.I4:{let[e,n,r]=fe(t);return e+n+r}default:return t}}function fe(e){let{group:t}=h;return[Math.ceil(e/8),Math.ceil(e/(4*t)),Math.ceil(e/(2*t))]}var pe=class{index;name;dtype;role;frac;extents;start;per;scale;bias;length;parameters;cols;rows;rowWords;constructor(e,t,n,r,i,a,o,s,c,l,u,d){this.index=e,this.name=t,this.dtype=n,this.role=r,this.frac=i,this.extents=a,this.start=o,this.per=s,this.scale=c,this.bias=l,this.length=u,this.parameters=d,this.cols=a[a.length-1]??0,this.rows=a.slice(0,-1).reduce((e,t)=>e*t,1),this.rowWords=de(n,this.cols)}get dtypeName(){return y.get(this.dtype)??``}get roleName(){return(b.get(this.role)??``).toLowerCase()}get isTensor(){return this.dtype!==d.PARAMS}get called(){return this.name||String(this.index)}get flat(){return this.rows*this.cols}imageRows(e){return this.per?Math.ceil(this.rows/this.per):this.rows*Math.ceil(this.rowWords/e)}rowStart(e,t){return this.per?this.start+Math.floor(e/this.per)*t+e%this.per*this.rowWords:this.start+e*Math.ceil(this.rowWords/t)*t}rects(e){let t=this.start%e,n=Math.floor(this.start/e),r=this.rowWords;if(this.per){let e=Math.min(this.per,this.rows),i=Math.floor(this.rows/e),a=this.rows%e,o=[{x:t,y:n,width:e*r,height:i}];return a&&o.push({x:t,y:n+i,width:a*r,height:1}),o}let i=Math.ceil(r/e);if(i*e===r||this.rows*i===i){let t=Math.floor(r/e),i=[];return t&&i.push({x:0,y:n,width:e,height:t*this.rows}),r%e&&i.push({x:0,y:n+t,width:r%e,height:1}),i}return[{x:0,y:n,width:e,height:this.rows*i}]}};function S(e){return e.join(`x`)}function me(e,t,n,r){let i=e[0]??0,o=new Uint8Array(e.slice(h.nameWord,h.descriptorWords).buffer),s=o.length;for(;s&&o[s-1]===0;)--s;let c=`descriptor ${t}`,l=le(o.subarray(0,s));if(`error`in l)throw new a(`${c}: ${l.error}`);let u=l.text,[f,p,m]=[i&255,i>>8&255,i>>16&255];if(!y.has(f))throw new a(`${c}: ${f} is not a valid DType`);if(!b.has(m))throw new a(`${c}: ${m} is not a valid Role`);let _=i>>24;if(f===d.PARAMS)return new pe(t,u,f,m,_,[0],0,1,null,null,null,[...e.subarray(1,1+h.parameters)]);if(c+=` (${u})`,p<1||p>4)throw new a(`${c}: rank is 1..4; found ${p}`);let v=[...e.subarray(1,1+p)],ee=v.reduce((e,t)=>e*Math.max(t,1),1),te=Math.min(g.extent,(f===d.I4?8:4)*r);if(Math.min(...v)<1||ee>te)throw new a(`${c}: extents ${ce(v)} are not inside an image of ${r} pixels`);he(c,f,v[v.length-1]??0);let[ne=null,re=null,ie=null]=[7,8,9].map(t=>{let r=e[t]??0;if(r>n)throw new a(`${c}: link to descriptor ${r-1}; there are ${n}`);return r?r-1:null});return new pe(t,u,f,m,_,v,e[5]??0,e[6]??0,ne,re,ie,[])}function he(e,t,n){let r=y.get(t)??``,i=m[r]??1;if(n%i)throw new a(`${e}: ${r} rows fill whole pixels, ${i} elements together; found ${n}`)}function ge(e,t,n){if(!e.isTensor)return;let[r,i]=[e.start%t,Math.floor(e.start/t)],o=e.per?Math.min(e.per,e.rows)*e.rowWords:e.rowWords;if(!(e.per?r+o<=t:r===0)||i+e.imageRows(t)>n)throw new a(`descriptor ${e.index} (${e.name}): ${e.rows} rows of ${e.rowWords} pixels, ${e.per} in an image row, from (${r}, ${i}) on leave the ${t} x ${n} image`)}function _e(e,t,n,r){let i=t.rowWords,a=new Uint32Array(r*i);for(let o=0;o<r;o++){let r=t.rowStart(n+o,e.width);a.set(e.words.subarray(r,r+i),o*i)}return a}var ve=u(1);function C(e,t){return e<h.relative?e:t+e-h.relative}function ye(e){let{width:t,height:n,words:r}=e,i=t*n,{headerWords:o,version:s,stateWords:c,descriptorWords:l}=h;if(i<o)throw new a(`a PXV1 header has ${o} pixels; the image has ${i}`);let[,u=0,d=0,f=0,p=0,m=0,_=0]=r;if(u!==s)throw new a(`expected format version ${s}; found ${u}: ${u<s?`an older pxvm wrote it; make a model's picture again: pxvm import SOURCE -o FILE`:`use a newer pxvm`}`);let v=[{name:`header`,start:0,count:o},{name:`state`,start:_,count:c},{name:`code`,start:d,count:f},{name:`descriptors`,start:p,count:m*l}];for(let{name:e,start:t,count:n}of v)if(t+n>i)throw new a(`header: ${n} pixels of ${e} from pixel ${t} on leave the image of ${i}`);if(f<1||f>g.code||m<1||m>g.descriptors)throw new a(`header: found ${f} instructions and ${m} descriptors`);let y=[];for(let e=0;e<m;e++){let t=p+e*l;y.push(me(r.slice(t,t+l),e,m,i))}for(let e of y)ge(e,t,n);let b=y.reduce((e,n)=>e+(n.isTensor?n.imageRows(t):0),0);if(b>64*(n+m))throw new a(`the tensors reach over ${b} image rows; at most ${64*(n+m)} for ${m} descriptors in ${n} rows, so that parsing stays short`);return{dialect:1,width:t,height:n,codeStart:d,stateStart:_,tableStart:p,descriptors:y,instructions:Array.from({length:f},(e,n)=>be(n,r[d+n]??0,d,t)),reserved:v}}function be(e,t,n,r){let i=t&255,[o,s]=[(n+e)%r,Math.floor((n+e)/r)],c=ve.get(i);if(!c){let t=[...ve.values()].map(e=>e.glyph).join(` `);throw new a(`instruction ${e} at x=${o}, y=${s}: unknown opcode ${i} (${oe(String.fromCharCode(i))}); expected one of ${t}`)}return new ie(e,o,s,i,c,[t>>8&255,t>>16&255,t>>>24])}function xe(e,t){return new Int32Array(e.words.slice(t,t+h.stateWords).buffer)}var w=g.inner;function T(e,t,...n){if(!e)throw new a(`expected ${t}; found ${n.map(e=>`${e.called} ${S(e.extents)} frac ${e.frac}`).join(`, `)}`)}function E(e,t){return e.every(n=>t(n)===t(e[0]))}function D(...e){T(E(e,e=>e.rows)&&E(e,e=>e.length),`as many rows and one length for all`,...e)}function O(...e){D(...e),T(E(e,e=>e.cols),`as many columns in all`,...e)}function k(...e){T(E(e,e=>e.frac),`the same fraction bits in all`,...e)}function A(e,t){T((t.rows===e.rows&&t.length===e.length||t.rows===1&&t.length===null)&&(t.cols===1||t.cols===e.cols),`b of the result's shape, one row of it, or one element`,e,t)}function j(e){return(t,n)=>e(t[0],t[1],t[2],n)}var Se=j((e,t,n)=>{D(e,t),T(n.length===null,`a weight without a length`,n),T(t.cols===n.cols&&e.cols===n.rows,`out [t,n], x [t,k], weight [n,k]`,e,t,n),T(n.scale!==null||n.dtype!==d.I8&&n.dtype!==d.I4,`a weight with a scale`,n),T(t.cols<=w&&t.extents.length<=2,`x [t,k], k of at most ${w}`,t)}),Ce=j((e,t,n)=>{O(e,t),A(e,n),k(t,n)}),we=j((e,t)=>{O(e,t),T(t.cols<=w,`at most ${w} columns`,t)}),Te=j((e,t,n)=>{O(e,t),T(e.index!==n.index,`a result that is not the table`,e);let r=n.flat-1;T(r>=64&&r<=1<<20&&!(r&r-1)&&n.extents.length===1,`a table [n + 1] with n a power of two from 64 to 2^20`,n)}),Ee=j((e,t,n)=>{O(e,t),T(n.flat===t.cols&&t.cols<=w&&n.extents.length===1,`a weight [d]`,t,n)});function De(e,t){D(e,t),k(e,t),T(e.cols===1,`out [t,1]`,e,t)}var Oe=j((e,t)=>{De(e,t),T(t.cols<=w,`at most ${w} columns`,t)}),ke=j((e,t)=>{T(t.cols%2==0&&e.cols%t.cols===0&&t.extents.length===2,`table [positions, w], w even and a divisor of x's columns`,e,t)});function Ae(e){T(e.extents.length===3&&e.length===null&&(e.extents[1]??0)<=g.context&&e.cols<=w,`a cache [heads, context, w] without a length`,e)}function je(e,t,n,r){O(e,t),Ae(n),T(S(n.extents)===S(r.extents),`k and v of one shape`,n,r);let i=(n.extents[0]??0)*n.cols;T(t.cols%i===0,`q [t, heads*w], heads a multiple of the cache's`,t,n)}function Me(e,t){let[n,r,i,a]=[`height`,`width`,`size`,`stride`].map(e=>Number(t[e])),o=Number(t.pad??0),s=(e,t,n)=>e>=t&&e<=n;T(s(n,1,65535)&&s(r,1,65535)&&s(i,1,255)&&s(a,1,255)&&s(o,0,255)&&e.cols%(n*r)===0,`height x width x channels columns`,e);let[c,l]=[n+2*o-i,r+2*o-i];return T(c>=0&&l>=0,`a window of ${i} that fits into the picture`,e),[Math.floor(c/a)+1,Math.floor(l/a)+1,e.cols/(n*r)]}var Ne=j((e,t,n,r)=>{D(e,t),k(e,t);let[i,a,o]=Me(t,r);T(e.cols===i*a*o,`out [t, ${i}*${a}*${o}]`,e,t)}),Pe={Embed:j((e,t,n)=>{D(e,t),T(t.cols===1&&e.cols===n.cols,`ids [t,1] and as many columns as the table`,e,t,n),T(n.scale!==null,`a table with a scale`,n)}),Linear:Se,MatMul:Se,Add:j((e,t,n)=>{O(e,t),A(e,n),k(e,t,n)}),Mul:j((e,t,n)=>{O(e,t),A(e,n)}),Less:Ce,Equal:Ce,Dot:j((e,t,n)=>{O(t,n),D(e,t),T(e.cols===1&&t.cols<=w,`out [t,1] and d of at most ${w}`,e,t)}),Select:j((e,t,n)=>{O(e,t,n),k(e,n)}),ReLU:j((e,t)=>{O(e,t),k(e,t)}),Quantise:j((e,t)=>O(e,t)),L2Norm:we,Softmax:we,Table:Te,Gate:Te,RMSNorm:Ee,LayerNorm:Ee,Max:j(De),Sum:Oe,Mean:Oe,Argmax:j((e,t)=>{D(e,t),T(e.cols===1,`out [t,1]`,e,t)}),TopK:j((e,t,n)=>{O(e,n),D(e,t),k(t,n),T(e.cols<=t.cols,`k of at most d`,e,t)}),RoPEPairs:ke,RoPEHalves:ke,Append:j((e,t)=>{Ae(e),T(t.cols===(e.extents[0]??0)*e.cols,`x [t, heads*w]`,t,e)}),AttentionCausal:j((e,t,n,r)=>je(e,t,r.k,r.v)),AttentionFull:j((e,t,n,r)=>{je(e,t,r.k,r.v);let i=r.lengths;T(i.cols===1||i.rows===1,`lengths in one row or column`,i)}),MeanPool:j((e,t)=>{k(e,t),T(e.cols===t.cols,`as many columns in both`,e,t),T(t.rows<=w,`at most ${w} rows`,t)}),Conv2D:j((e,t,n,r)=>{let i=r.weight;D(e,t),T(Number(r.pad)<Number(r.size),`padding of less than the window's ${r.size}`,t);let[a,o,s]=Me(t,r);T(i.scale!==null,`a weight with a scale`,i);let c=Number(r.size)**2*s;T(i.cols===c&&c<=w&&i.length===null,`weight [c, size*size*channels]`,i,t),T(e.cols===a*o*i.rows,`out [t, ${a}*${o}*c]`,e,i)}),MaxPool:Ne,AvgPool:Ne,Blit:j((e,t,n)=>{T(e.extents.length===2&&e.length===null,`a canvas [h,w]`,e),T(n.extents.length===3&&n.cols<=e.cols,`a font [glyphs, gh, gw] not wider than the canvas`,n,e)}),Copy:j((e,t)=>{k(e,t),T(t.flat<=e.flat,`no more elements in x than in the result`,e,t)}),Transpose:j((e,t,n,r)=>{k(e,t);let i=[`a`,`b`,`c`,`d`].map(e=>Number(r[e]));T([...i].sort((e,t)=>e-t).join()===`0,1,2,3`,`axes 0, 1, 2 and 3 once each`,t);let a=i.map(e=>t.extents[e]??1),o=e=>e.filter(e=>e>1).join();T(o(a)===o(e.extents),`a result of ${S(a)}`,e,t)}),Slice:j((e,t,n,r)=>{D(e,t),k(e,t);let[i,a]=[Number(r.first),Number(r.step)];T(a>=1&&i+a*(e.cols-1)<t.cols,`columns ${i}, ${i} + ${a}, ... inside x`,e,t)}),Concat:j((e,t,n,r)=>{D(e,t),k(e,t);let i=Number(r.first);T(i+t.cols<=e.cols,`x inside the result from column ${i} on`,e,t)}),Tail:j((e,t)=>{k(e,t),T(e.cols===t.cols,`as many columns in both`,e,t)}),Push:j((e,t,n)=>{k(e,t),T(e.cols===t.cols&&n.flat===1,`as many columns in both and a scalar length`,e,t,n)}),Fill:j((e,t)=>k(e,t)),Sample:j((e,t,n,r)=>{let[i,a]=[r.history,r.random];T(e.flat===1&&t.rows===1&&t.length===null,`token [1,1] and logits [1,v]`,e,t),T(i.cols===1,`history [n,1]`,i),T(a.flat===2&&a.extents.length===1,`random [2]`,a)})};function Fe(e){let t=ye(e);for(let e of t.descriptors)Ie(t.descriptors,e);ne(t);let n=new Re(e,t),r=n.main();return Be(e,t,n),{...t,match:n.match,budget:r,visits:n.visits()}}function Ie(e,t){try{if(!t.isTensor)return;if(t.length!==null){let n=e[t.length];T(n.dtype===d.I32&&n.flat===1&&n.length===null&&n.role!==f.SCRATCH,`a kept I32 scalar as length`,n),T(t.extents.length>1,`at least two extents with a length`,t)}let n=t.dtype===d.I8||t.dtype===d.I4;if(t.scale!==null){let r=n?t.rows:+(t.dtype===d.I16);Le(e[t.scale],d.SCALE,r,`${r} constant scales [n]`,t)}if(t.bias!==null){let r=n?t.rows:t.dtype===d.I16?t.cols:0;Le(e[t.bias],d.I32,r,`a constant I32 bias [${r}]`,t)}(n||t.dtype===d.I16||t.dtype===d.SCALE)&&T(t.role===f.CONSTANT,`a constant role for ${t.dtypeName}`,t)}catch(e){throw new a(`descriptor ${t.index} (${t.name}): ${e.message}`)}}function Le(e,t,n,r,i){T(e.dtype===t&&e.extents.length===1&&e.flat===n&&e.role===f.CONSTANT,r,i,e)}var Re=class{picture;program;code;match=new Map;ends=new Map;inner=[];visited=new Set;checked=new Set;costs=new Map;work=0;constructor(e,t){this.picture=e,this.program=t,this.code=t.instructions,this.structure()}key(e,t){return e*(1<<18)+t+1}reaches(e,t){return t>=0&&t<=this.program.descriptors.length&&this.visited.has(this.key(e,t))}visits(){return[...this.checked].sort((e,t)=>e-t).map(e=>[Math.floor(e/(1<<18)),e%(1<<18)-1])}at(e){return this.code[e]}fail(e,t){return new a(`${e.place}: ${t}`)}structure(){let e=[],t=0;for(let n of this.code){this.inner.push(e[e.length-1]??-1);let{flow:r}=n.op;if(r===`LOOP`)e.push(n.index);else if(r===`END_LOOP`){let r=e[e.length-1];if(r===void 0||r<t)throw this.fail(n,`expected a Loop before it in the same block; found none`);e.pop(),this.match.set(r,n.index)}else if(r===(t?`RETURN`:`HALT`)){let r=e[e.length-1];if(r!==void 0)throw this.fail(this.at(r),`expected its EndLoop; found the block's end`);this.ends.set(t,n.index),t=n.index+1}else if(r===`HALT`||r===`RETURN`)throw this.fail(n,`the main block ends with its one Halt, a subroutine with its one Return`)}if(t!==this.code.length)throw this.fail(this.at(this.code.length-1),`expected Halt (or Return) at the end of the block`)}main(){return this.block(0,this.ends.get(0)??0,this.start(),0,0)[0]}start(){let e=xe(this.picture,this.program.stateStart),t=t=>e[t]??0;return t(p.LOOPS)&&t(p.LOOP_STACK)<=(this.ends.get(0)??0)?t(p.LOOP_STACK+3):t(p.CALLS)?t(p.CALL_STACK+1):t(p.BASE)}block(e,t,n,r,i){if(n<0||n>this.program.descriptors.length)throw this.fail(this.at(e),`the base becomes ${n}, beyond all descriptors`);let a=this.key(e,n),o=this.costs.get(a);if(o||(o=this.visitBlock(e,t,n,r,i),this.costs.set(a,o)),r+o[1]>g.depth||i+o[2]>g.depth)throw this.fail(this.at(e),`loops and calls nest at most ${g.depth} deep`);return o}visitBlock(e,t,n,r,i){let[a,o,s]=[0,0,0];for(let c=e;c<=t;c++){let e=this.at(c);if(this.visit(e,n),a+=1,e.op.flow===`LOOP`){let t=this.match.get(c)??c,l=this.loop(e,t,n,r+1,i);[a,o,s]=[a+l[0],Math.max(o,l[1]+1),Math.max(s,l[2])],c=t}else if(e.op.flow===`CALL`){let t=this.call(e,n,r,i+1);[a,o,s]=[a+t[0],Math.max(o,t[1]),Math.max(s,t[2]+1)]}else e.op.flow===`SKIP`&&this.skip(e,t)}return[a,o,s]}count(e){if(this.work+=1,this.work>g.work)throw this.fail(e,`the program has over ${g.work} paths`)}visit(e,t){this.count(e),this.visited.add(this.key(e.index,t));let n=e.op.operands.some((t,n)=>(t.names===`TENSOR`||t.names===`BLOCK`)&&(e.operands[n]??0)>=h.relative),r=this.key(e.index,n?t:-1);if(!this.checked.has(r)){this.checked.add(r);try{this.check(e,t)}catch(t){throw this.fail(e,t.message)}}}descriptor(e){let t=this.program.descriptors[e];if(!t)throw new a(`expected descriptor 0..${this.program.descriptors.length-1}; found ${e}`);return t}check(e,t){let n=[],r=[],i=[],o={};e.op.operands.forEach((s,c)=>{let l=e.operands[c]??0;if(s.name===`NONE`&&l)throw new a(`operand ${c+1} is unused and must be 0; found ${l}`);if(s.names!==`TENSOR`&&s.names!==`BLOCK`)return;let u=this.descriptor(C(l,t));s.names===`BLOCK`?o=this.parameters(e,u,r,i):(ze(u,e.op.types[c]??[]),n.push(u),r.push(u),s.writes&&i.push(u))});let s=(e,t)=>e.filter(e=>e===t).length;for(let t of i){T(t.role!==f.CONSTANT,`a result that is not constant`,t),T(s(r,t)===1||e.op.inPlace&&s(i,t)===1,`a result that is none of the other operands`,t);for(let e of r)T(e.length!==t.index,`a result that is not another operand's length`,t)}if(Pe[e.op.name]?.(n,o),e.op.addsBias){let e=o.weight??n[n.length-1],t=n[0];if(e.bias!==null){let n=this.descriptor(e.bias);T(n.frac===t.frac,`a bias with the result's fraction bits`,n,t)}}}parameters(e,t,n,r){if(t.isTensor)throw new a(`expected a parameter block; found ${t.dtypeName} (${t.called})`);let i={};return e.op.parameters.forEach((e,a)=>{let o=t.parameters[a]??0;if(i[e.name]=o,e.mode.names!==`TENSOR`)return;let s=this.descriptor(o);i[e.name]=s,ze(s,e.types),n.push(s),e.mode.writes&&r.push(s)}),i}loop(e,t,n,r,i){let{depth:a}=g;if(r>a)throw this.fail(e,`loops nest at most ${a} deep`);let o=this.descriptor(C(e.operands[0],n));if(o.flat!==1||o.length!==null){let t=`${o.called} ${S(o.extents)}`;throw this.fail(e,`expected a count of one element, no length; found ${t}`)}let s=e.operands[2];if(o.role!==f.CONSTANT&&s)throw this.fail(e,`expected a constant count where the base moves`);let c=this.rounds(o);if(!s){let[a,o,s]=this.block(e.index+1,t,n,r,i);return[c*a,o,s]}let[l,u,d]=[0,0,0];for(let a=0;a<c;a++){this.count(e);let o=this.block(e.index+1,t,n+a*s,r,i);[l,u,d]=[l+o[0],Math.max(u,o[1]),Math.max(d,o[2])]}return[l,u,d]}rounds(e){return e.role===f.CONSTANT?Math.min(Math.max((this.picture.words[e.start]??0)|0,0),g.count):g.count}call(e,t,n,r){let i=e.operands[0]|e.operands[1]<<8,a=this.ends.get(i);if(r>g.depth||a===void 0||!i){let t=`instruction ${i} at call depth ${r}`;throw this.fail(e,`expected the start of a subroutine, at most ${g.depth} deep; found ${t}`)}return this.block(i,a,t+e.operands[2],n,r)}skip(e,t){let n=e.index+1+e.operands[2];if(n>t||this.inner[n]!==this.inner[e.index])throw this.fail(e,`expected to skip whole loops inside its own block`)}};function ze(e,t){if(!t.includes(e.dtypeName))throw new a(`expected ${t.join(` or `)}; found ${e.dtypeName} (${e.called})`)}function Be(e,t,n){if(!Ve(xe(e,t.stateStart),n))throw new a(`the state's registers are not a place that this program reaches; reset the state to zero`)}function Ve(e,t){let n=t=>e[t]??0,[r,i,a,o]=[n(p.LOOPS),n(p.CALLS),n(p.PC),n(p.STATUS)];if(r<0||r>g.depth||i<0||i>g.depth||o<0||o>_.halted)return!1;let s=n(p.BASE);if(a<0||a>=t.code.length||!t.reaches(a,s))return!1;let[c,l]=[a,r];for(let r=i;;r--){let i=Math.max(...[...t.ends.keys()].filter(e=>e<=c)),a=[...t.match].filter(([e,t])=>e<c&&c<=t&&e>=i);for(let[n]of a.sort((e,t)=>t[0]-e[0])){if(--l,l<0)return!1;let r=p.LOOP_STACK+4*l,i=He(t,e.subarray(r,r+4),n,s);if(i===null)return!1;s=i}if(r===0)return l===0&&i===0;let o=p.CALL_STACK+2*(r-1),u=n(o+1);if(c=n(o),c<=0||c>=t.code.length||!t.reaches(c,u))return!1;let d=t.at(c-1);if(d.op.flow!==`CALL`||(d.operands[0]|d.operands[1]<<8)!==i||s!==u+d.operands[2])return!1;s=u}}function He(e,t,n,r){let[i=0,a=0,o=0,s=0]=t,c=e.at(n).operands;if(i!==n+1||o!==c[2]||a<1||a>g.count||!e.reaches(n,s))return null;let l=e.rounds(e.program.descriptors[C(c[0],s)]);if(!o)return r===s&&a<=l?s:null;let u=(r-s)/o;return Number.isInteger(u)&&u>=0&&u+a===l?s:null}function M(e){let[t,n]=[e,`bytes`];for(let e of[`kB`,`MB`,`GB`,`TB`,`PB`]){if(t<1e3)break;[t,n]=[t/1e3,e]}return n===`bytes`?`${e} bytes`:`${Number(t.toPrecision(3))} ${n}`}var N={numbers:{LANES:128,FRONT:256,TABLE:260,FEW:4,WIDE:64,BLOCK:128,CANDIDATES:1024,STATE_WORDS:64,WINDOWS:4,NEAR:32768,GAP:16384,MOST_GROUPS:16384,CALLS:1024,ALIGNED:64,SCRATCH:4194304,MOST_QUERIES:2048,FEW_COLUMNS:8,MOST_OF_FEW:1024,MOST_ROUNDS:6e4,REDUCTION:40,ROW_LANES:64,ROW_GROUPS:65535},fields:[`START`,`ROW_WORDS`,`ROWS`,`COLS`,`FRAC`,`SCALE`,`BIAS`,`PER`,`STRIDE`,`DTYPE`,`LENGTH`,`E0`,`E1`,`E2`,`E3`],byRows:[`RMSNorm`,`LayerNorm`,`L2Norm`,`Softmax`,`Quantise`,`Sum`,`Max`,`Mean`,`Argmax`,`TopK`,`Dot`],operations:{69:`op_embed`,76:`op_linear`,77:`op_matmul`,86:`op_conv2d`,65:`op_add`,88:`op_mul`,68:`op_dot`,82:`op_relu`,84:`op_table`,71:`op_gate`,60:`op_less`,61:`op_equal`,87:`op_select`,78:`op_rmsnorm`,110:`op_layernorm`,108:`op_l2norm`,83:`op_softmax`,81:`op_quantise`,85:`op_sum`,79:`op_max`,109:`op_mean`,103:`op_argmax`,107:`op_topk`,80:`op_ropepairs`,112:`op_ropehalves`,75:`op_append`,97:`op_attentioncausal`,102:`op_attentionfull`,111:`op_meanpool`,120:`op_maxpool`,118:`op_avgpool`,66:`op_blit`,99:`op_copy`,116:`op_transpose`,115:`op_slice`,106:`op_concat`,122:`op_tail`,117:`op_push`,70:`op_fill`,36:`op_sample`},limits:{"max-buffer-size":268435456,"max-storage-buffer-binding-size":134217728,"max-storage-buffers-per-shader-stage":8,"max-compute-workgroups-per-dimension":65535,"max-compute-workgroup-storage-size":16384,"max-compute-invocations-per-workgroup":256,"max-compute-workgroup-size-x":256},powers:[65536,65359,65182,65006,64830,64655,64480,64306,64132,63958,63785,63613,63441,63269,63098,62928,62757,62588,62419,62250,62081,61914,61746,61579,61413,61247,61081,60916,60751,60587,60423,60260,60097,59934,59772,59611,59449,59289,59128,58968,58809,58650,58491,58333,58176,58018,57861,57705,57549,57393,57238,57083,56929,56775,56622,56468,56316,56163,56012,55860,55709,55558,55408,55258,55109,54960,54811,54663,54515,54368,54221,54074,53928,53782,53637,53492,53347,53203,53059,52916,52773,52630,52488,52346,52204,52063,51922,51782,51642,51502,51363,51224,51085,50947,50810,50672,50535,50399,50262,50126,49991,49856,49721,49586,49452,49319,49185,49052,48920,48787,48655,48524,48393,48262,48131,48001,47871,47742,47613,47484,47356,47228,47100,46973,46846,46719,46593,46467,46341,46216,46091,45966,45842,45718,45594,45471,45348,45225,45103,44981,44859,44738,44617,44497,44376,44256,44137,44017,43898,43780,43661,43543,43425,43308,43191,43074,42958,42841,42726,42610,42495,42380,42265,42151,42037,41923,41810,41697,41584,41472,41360,41248,41136,41025,40914,40804,40693,40583,40473,40364,40255,40146,40037,39929,39821,39714,39606,39499,39392,39286,39180,39074,38968,38863,38757,38653,38548,38444,38340,38236,38133,38030,37927,37824,37722,37620,37518,37417,37316,37215,37114,37014,36914,36814,36715,36615,36516,36417,36319,36221,36123,36025,35928,35831,35734,35637,35541,35445,35349,35253,35158,35063,34968,34874,34779,34685,34591,34498,34405,34312,34219,34126,34034,33942,33850,33759,33667,33576,33486,33395,33305,33215,33125,33035,32946,32857,32768,0,0,0],module:`const LANES: u32 = 128u;
const BLOCK: u32 = 128u;
const FEW: u32 = 4u;
const WIDE: u32 = 64u;
const STAGED: u32 = 1024u;
const TABLE: u32 = 260u;
const RECORD: u32 = 15u;
const WINDOW: u32 = $WINDOW;
const WINDOWS: u32 = $WINDOWS;
const GROUP: u32 = 32u;
const LARGEST_I4: u32 = 36592u;
const LARGEST_ACT1: u32 = 128u;
const LARGEST_ACT2: u32 = 32896u;
const SATURATED: u32 = 4u;
const CLAMPED: u32 = 5u;
const CANDIDATES: u32 = 1024u;
const LOG2E_M: u32 = 47274u;
const PCG_LOW: u32 = 1284865837u;
const PCG_HIGH: u32 = 1481765933u;
const PCG_STEP_LOW: u32 = 4150755663u;
const PCG_STEP_HIGH: u32 = 335903614u;
const LOWEST: i32 = -2147483648;
const HIGHEST: i32 = 2147483647;
const FAR: i32 = -1048576;
const LOG2E_E: i32 = -15;
const ACT1: i32 = 5;
const ACT2: i32 = 6;
const I4: i32 = 9;
const PARAMS: i32 = 8;
const GROUPED: bool = $GROUPED;
@group(0) @binding(0) var<uniform> given: vec4<u32>;
@group(0) @binding(1) var<storage, read> tensors: array<i32>;
@group(0) @binding(2) var<storage, read_write> changing: array<u32>;
@group(0) @binding(3) var<storage, read_write> scratch: array<u32>;
@group(0) @binding(4) var<storage, read> image0: array<u32>;
@group(0) @binding(5) var<storage, read> image1: array<u32>;
@group(0) @binding(6) var<storage, read> image2: array<u32>;
@group(0) @binding(7) var<storage, read> image3: array<u32>;
fn quad_size() -> u32 { return 4u; }
fn ld(at: u32) -> u32 { return changing[at]; }
fn st(at: u32, value: u32) { changing[at] = value; }
var<workgroup> now: Named;
fn named(lane: u32) -> Named {
if (lane == 0u) {
let g = tensor_at(given.x);
now = Named(given.x, given.y, given.z, used(g), used(tensor_at(given.y)), used(tensor_at(given.z)), 0u, g.cols);
}
return workgroupUniformLoad(&now);
}
const FEWER: u32 = 16u;
fn largest_of_lanes(value: i32, lane: u32) -> i32 {
var top = value;
gathered[lane] = value;
workgroupBarrier();
if (lane < FEWER) {
for (var i = lane + FEWER; i < LANES; i += FEWER) { top = max(top, gathered[i]); }
gathered[lane] = top;
}
workgroupBarrier();
if (lane == 0u) {
for (var i = 1u; i < FEWER; i++) { top = max(top, gathered[i]); }
gathered[0] = top;
}
return workgroupUniformLoad(&gathered[0]);
}
fn pair_of_lanes(high: i32, low: u32, lane: u32) -> vec2<u32> {
var all_high = high;
var all_low = low;
gathered[lane] = high;
gathered_too[lane] = low;
workgroupBarrier();
if (lane < FEWER) {
for (var i = lane + FEWER; i < LANES; i += FEWER) {
all_high += gathered[i];
all_low += gathered_too[i];
}
gathered[lane] = all_high;
gathered_too[lane] = all_low;
}
workgroupBarrier();
if (lane == 0u) {
for (var i = 1u; i < FEWER; i++) {
all_high += gathered[i];
all_low += gathered_too[i];
}
gathered[0] = all_high;
gathered_too[0] = all_low;
}
let sum_high = workgroupUniformLoad(&gathered[0]);
return pair_of_halves(sum_high, workgroupUniformLoad(&gathered_too[0]));
}
fn range_of_lanes(range: vec2<i32>, lane: u32) -> vec2<i32> {
var all = range;
gathered[lane] = range.x;
gathered_too[lane] = u32(range.y);
workgroupBarrier();
if (lane < FEWER) {
for (var i = lane + FEWER; i < LANES; i += FEWER) {
all = vec2<i32>(min(all.x, gathered[i]), max(all.y, i32(gathered_too[i])));
}
gathered[lane] = all.x;
gathered_too[lane] = u32(all.y);
}
workgroupBarrier();
if (lane == 0u) {
for (var i = 1u; i < FEWER; i++) {
all = vec2<i32>(min(all.x, gathered[i]), max(all.y, i32(gathered_too[i])));
}
gathered[0] = all.x;
gathered_too[0] = u32(all.y);
}
let least = workgroupUniformLoad(&gathered[0]);
return vec2<i32>(least, i32(workgroupUniformLoad(&gathered_too[0])));
}
fn largest_of_blocks(score: i32, e: i32, lane: u32) {
gathered[lane] = score;
gathered_too[lane] = u32(e);
for (var step = BLOCK / 2u; step > 0u; step = step / 2u) {
workgroupBarrier();
if (lane % BLOCK < step) {
gathered[lane] = max(gathered[lane], gathered[lane + step]);
gathered_too[lane] = u32(max(i32(gathered_too[lane]), i32(gathered_too[lane + step])));
}
}
workgroupBarrier();
if (lane % BLOCK == 0u) {
blocks[lane / BLOCK].reference = (gathered[lane] + 65535) >> 16u;
blocks[lane / BLOCK].lift = i32(gathered_too[lane]);
}
workgroupBarrier();
}
fn sum_of_blocks(w: i32, shift: u32, lane: u32) {
gathered[lane] = w;
for (var step = BLOCK / 2u; step > 0u; step = step / 2u) {
workgroupBarrier();
if (lane % BLOCK < step) { gathered[lane] += gathered[lane + step]; }
}
if (lane % BLOCK == 0u) { blocks[lane / BLOCK].light = shift_down(gathered[lane], shift); }
workgroupBarrier();
}
struct Fitted { v: i32, over: bool }
struct Scale { m: u32, e: i32 }
fn pair(v: i32) -> vec2<u32> { return vec2<u32>(u32(v), u32(v >> 31u)); }
fn pair_add(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
let low = a.x + b.x;
return vec2<u32>(low, a.y + b.y + select(0u, 1u, low < a.x));
}
fn pair_sub(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
return vec2<u32>(a.x - b.x, a.y - b.y - select(0u, 1u, a.x < b.x));
}
fn multiply_unsigned(a: u32, b: u32) -> vec2<u32> {
let al = a & 65535u; let ah = a >> 16u;
let bl = b & 65535u; let bh = b >> 16u;
let low = al * bl;
let mid = ah * bl + (low >> 16u);
let other = al * bh + (mid & 65535u);
return vec2<u32>((other << 16u) | (low & 65535u), ah * bh + (mid >> 16u) + (other >> 16u));
}
fn multiply(a: i32, b: i32) -> vec2<u32> {
let p = multiply_unsigned(u32(a), u32(b));
return vec2<u32>(p.x, p.y - select(0u, u32(b), a < 0) - select(0u, u32(a), b < 0));
}
fn pair_of_halves(high: i32, low: u32) -> vec2<u32> {
return pair_add(vec2<u32>(u32(high) << 16u, u32(high >> 16u)), vec2<u32>(low, 0u));
}
fn pair_shift(p: vec2<u32>, s: u32) -> vec2<u32> {
let high = i32(p.y);
if (s == 0u) { return p; }
if (s < 32u) { return vec2<u32>((p.x >> s) | (p.y << (32u - s)), u32(high >> s)); }
return vec2<u32>(u32(high >> min(s - 32u, 31u)), u32(high >> 31u));
}
fn bit(s: u32) -> vec2<u32> {
return select(vec2<u32>(0u, 1u << ((s - 32u) & 31u)), vec2<u32>(1u << (s & 31u), 0u), s < 32u);
}
fn fit(p: vec2<u32>) -> Fitted {
let high = i32(p.y);
if (high == (i32(p.x) >> 31u)) { return Fitted(i32(p.x), false); }
return Fitted(select(HIGHEST, LOWEST, high < 0), true);
}
fn pair_shift_round(p: vec2<u32>, s: u32) -> vec2<u32> {
if (s == 0u) { return p; }
return pair_shift(pair_add(p, bit(s - 1u)), s);
}
fn shift_round(p: vec2<u32>, s: i32) -> Fitted {
if (s > 62) { return Fitted(0, false); }
if (s > 0) { return fit(pair_shift_round(p, u32(s))); }
let f = fit(p);
if (f.over || s == 0 || f.v == 0) { return f; }
let left = u32(min(-s, 32));
if (left < 32u) {
let t = f.v << left;
if ((t >> left) == f.v) { return Fitted(t, false); }
}
return Fitted(select(HIGHEST, LOWEST, f.v < 0), true);
}
fn rescale(v: i32, m: u32, e: i32) -> Fitted {
let b = (u32(v) & 65535u) * m;
let h = (v >> 16u) * i32(m) + i32(b >> 16u);
let low = b & 65535u;
let s = -e;
if (s > 16) {
if (s > 48) { return Fitted(0, false); }
return Fitted(((h >> u32(s - 17)) + 1) >> 1u, false);
}
let up = u32(min(16 - max(s, 0), 16));
let front = h << up;
var y = front;
if (s > 0) { y += i32((low + (1u << u32(s - 1))) >> u32(s)); } else { y |= i32(low); }
var over = (front >> up) != h || (s > 0 && y < front);
if (s < 0 && !over) {
let left = u32(min(-s, 32));
let t = select(0, y << (left & 31u), left < 32u);
over = y != 0 && (left > 31u || (t >> (left & 31u)) != y);
y = t;
}
if (over) { return Fitted(select(HIGHEST, LOWEST, v < 0), true); }
return Fitted(y, false);
}
fn shift_down(v: i32, s: u32) -> i32 {
if (s == 0u) { return v; }
if (s > 31u) { return 0; }
return ((v >> (s - 1u)) + 1) >> 1u;
}
fn add(a: Fitted, b: i32) -> Fitted {
let sum = a.v + b;
if (((a.v ^ sum) & (b ^ sum)) < 0) { return Fitted(select(HIGHEST, LOWEST, b < 0), true); }
return Fitted(sum, a.over);
}
fn add_saturating(a: i32, b: i32) -> Fitted { return add(Fitted(a, false), b); }
fn subtract(a: i32, b: i32) -> Fitted { return fit(pair_sub(pair(a), pair(b))); }
fn magnitude(v: i32) -> u32 { return select(u32(v), 0u - u32(v), v < 0); }
fn bit_length(v: u32) -> i32 { return 32 - i32(countLeadingZeros(v)); }
fn finish_scale(mantissa: u32, exponent: i32) -> Scale {
let over = mantissa >> 16u;
let m = mantissa >> over;
if (m == 0u) { return Scale(0u, 0); }
return Scale(m, clamp(exponent + i32(over), -32768, 32767));
}
fn normalise(v: u32, e: i32) -> Scale {
let down = bit_length(v) - 16;
if (down > 0) { return finish_scale(((v >> u32(down - 1)) + 1u) >> 1u, e + down); }
return finish_scale(v << u32(-down), e + down);
}
fn normalise_pair(p: vec2<u32>, e: i32) -> Scale {
if (p.y == 0u) { return normalise(p.x, e); }
let down = 16 + bit_length(p.y);
return finish_scale(pair_shift_round(p, u32(down)).x, e + down);
}
fn multiply_scales(a: Scale, b: Scale) -> Scale { return normalise(a.m * b.m, a.e + b.e); }
fn reciprocal(p: vec2<u32>) -> Scale {
let s = normalise_pair(p, 0);
return normalise((0x80000000u + (s.m >> 1u)) / s.m, -31 - s.e);
}
fn root(v: u32) -> u32 {
var found = clamp(u32(sqrt(f32(v))), 32768u, 65535u);
while (found * found > v) { found -= 1u; }
while (found < 65535u && (found + 1u) * (found + 1u) <= v) { found += 1u; }
return found + select(0u, 1u, v - found * found > found);
}
fn inverse_root(numerator: u32, denominator: vec2<u32>) -> Scale {
let n = normalise(numerator, 0);
let m = normalise_pair(denominator, 0);
let quotient = ((n.m << 16u) + (m.m >> 1u)) / m.m;
let exponent = n.e - m.e - 16;
var shift = 31 - bit_length(quotient);
shift += (exponent - shift) & 1;
return Scale(root(quotient << u32(shift)), (exponent - shift) >> 1u);
}
fn exp2_negative(d: u32) -> i32 {
let whole = d >> 16u;
if (whole > 17u) { return 0; }
let index = (d >> 8u) & 255u;
let high = tensors[index];
let value = high - (((high - tensors[index + 1u]) * i32(d & 255u) + 128) >> 8u);
return shift_down(value, whole);
}
fn divide(p: vec2<u32>, count: u32) -> u32 {
var rest = p.y % count;
rest = (rest << 16u) | (p.x >> 16u);
let high = rest / count;
rest = ((rest % count) << 16u) | (p.x & 65535u);
return (high << 16u) | (rest / count);
}
fn mean(sum: vec2<u32>, count: u32) -> i32 {
let lifted = pair_add(pair_add(sum, vec2<u32>(count >> 1u, 0u)), vec2<u32>(count << 31u, count >> 1u));
return i32(divide(lifted, count) - 0x80000000u);
}
fn divide_floor(a: i32, b: i32) -> i32 {
let q = a / b;
return q - select(0, 1, q * b > a);
}
struct Tensor {
start: u32, row_words: u32, rows: u32, cols: u32, frac: i32, scale: i32, bias: i32, per: u32, stride: u32,
dtype: i32, length: i32, e0: u32, e1: u32, e2: u32, e3: u32,
}
fn tensor_at(d: u32) -> Tensor {
let r = TABLE + RECORD * d;
return Tensor(
u32(tensors[r]), u32(tensors[r + 1u]), u32(tensors[r + 2u]), u32(tensors[r + 3u]), tensors[r + 4u], tensors[r + 5u],
tensors[r + 6u], u32(tensors[r + 7u]), u32(tensors[r + 8u]), tensors[r + 9u], tensors[r + 10u],
u32(tensors[r + 11u]), u32(tensors[r + 12u]), u32(tensors[r + 13u]), u32(tensors[r + 14u]),
);
}
struct Named { g: u32, b: u32, a: u32, rows_g: u32, rows_b: u32, rows_a: u32, first: u32, cols: u32 }
struct Call { g: Tensor, b: Tensor, a: Tensor, block: u32, rows_g: u32, rows_b: u32, rows_a: u32, first: u32, cols: u32 }
fn call(n: Named) -> Call {
return Call(tensor_at(n.g), tensor_at(n.b), tensor_at(n.a), n.a, n.rows_g, n.rows_b, n.rows_a, n.first, n.cols);
}
fn parameter(c: Call, i: u32) -> u32 { return u32(tensors[TABLE + RECORD * c.block + i]); }
fn parameter_tensor(c: Call, i: u32) -> Tensor { return tensor_at(parameter(c, i)); }
fn image(at: u32) -> u32 {
if (WINDOWS == 1u) { return image0[at]; }
switch (at / WINDOW) {
case 0u: { return image0[at]; }
case 1u: { return image1[at - WINDOW]; }
case 2u: { return image2[at - 2u * WINDOW]; }
default: { return image3[at - 3u * WINDOW]; }
}
}
fn row_at(d: Tensor, row: u32) -> u32 { return d.start + row * d.row_words; }
fn weight_at(d: Tensor, row: u32) -> u32 {
let per = d.per;
return d.start + row / per * d.stride + row % per * d.row_words;
}
fn weight_four(start: u32, quad: u32) -> u32 { return image(start + quad) ^ 0x80808080u; }
fn flat_at(d: Tensor, index: u32) -> u32 { return d.start + index; }
fn number(d: Tensor, row: u32, col: u32) -> i32 { return i32(ld(row_at(d, row) + col)); }
fn number_flat(d: Tensor, index: u32) -> i32 { return i32(ld(flat_at(d, index))); }
fn scalar(d: Tensor) -> i32 { return i32(ld(d.start)); }
fn short(d: Tensor, row: u32, col: u32) -> i32 {
let w = ld(row_at(d, row) + col / 2u);
return i32(w << (16u * (1u - (col & 1u)))) >> 16u;
}
fn used(d: Tensor) -> u32 {
if (d.dtype == PARAMS) { return 1u; }
if (d.length < 0) { return d.rows; }
return u32(clamp(i32(ld(u32(d.length))), 0, i32(d.rows)));
}
fn quads(d: Tensor) -> u32 { return d.cols / 4u; }
fn planes(d: Tensor) -> u32 { return select(1u, 2u, d.dtype == ACT2); }
fn is_activation(d: Tensor) -> bool { return d.dtype == ACT1 || d.dtype == ACT2; }
fn four(d: Tensor, start: u32, plane: u32, quad: u32) -> u32 {
return ld(start + plane * quads(d) + quad) ^ 0x80808080u;
}
fn byte_of(w: u32, index: u32) -> i32 { return i32(w << (24u - 8u * (index & 3u))) >> 24u; }
fn weight(start: u32, col: u32) -> i32 { return byte_of(weight_four(start, col / 4u), col); }
fn is_grouped(d: Tensor) -> bool { return GROUPED && d.dtype == I4; }
struct Ends { scale: i32, minimum: i32 }
fn ends_at(d: Tensor, start: u32, g: u32) -> Ends {
let scales = start + d.cols / 8u;
let minima = scales + (d.cols + 4u * GROUP - 1u) / (4u * GROUP);
let scale = (image(scales + g / 4u) >> (8u * (g & 3u))) & 255u;
let minimum = i32(image(minima + g / 2u) << (16u * (1u - (g & 1u)))) >> 16u;
return Ends(i32(scale), minimum);
}
fn weight_of(d: Tensor, start: u32, col: u32) -> i32 {
if (!is_grouped(d)) { return weight(start, col); }
let ends = ends_at(d, start, col / GROUP);
let code = (image(start + col / 8u) >> (8u * (col & 3u) + (col & 4u))) & 15u;
return ends.scale * i32(code) + ends.minimum;
}
fn scale_of(w: u32) -> Scale { return Scale(w & 65535u, i32(w) >> 16u); }
fn scale_word(s: Scale) -> u32 { return s.m | (u32(s.e) << 16u); }
fn row_scale(d: Tensor, row: u32) -> Scale {
if (is_activation(d)) { return scale_of(ld(row_at(d, row) + d.row_words - 1u)); }
if (d.scale < 0) { return Scale(0u, 0); }
return scale_of(ld(u32(d.scale) + row));
}
fn bias(d: Tensor, index: u32) -> i32 {
if (d.bias < 0) { return 0; }
return i32(ld(u32(d.bias) + index));
}
fn share_of(cols: u32, group: u32, groups: u32) -> vec2<u32> {
let pairs = (cols + 1u) / 2u;
let each = pairs / groups;
let more = pairs % groups;
let first = 2u * (group * each + min(group, more));
return vec2<u32>(first, min(2u * (each + select(0u, 1u, group < more)), cols - min(first, cols)));
}
fn mark_clamped() { st(CLAMPED, 1u); }
fn clamp_index(index: i32, size: u32) -> u32 {
let inside = clamp(index, 0, i32(size) - 1);
if (inside != index) { mark_clamped(); }
return u32(inside);
}
fn clamp_position(position: i32, step: u32, size: u32) -> u32 {
return clamp_index(add_saturating(position, i32(step)).v, size);
}
fn put(at: u32, value: Fitted) {
if (value.over) { st(SATURATED, 1u); }
st(at, u32(value.v));
}
fn put_word(at: u32, value: i32) { st(at, u32(value)); }
var<workgroup> gathered: array<i32, LANES>;
var<workgroup> gathered_too: array<u32, LANES>;
var<workgroup> agreed: vec2<u32>;
fn agree(v: vec2<u32>, lane: u32) -> vec2<u32> {
if (lane == 0u) { agreed = v; }
return workgroupUniformLoad(&agreed);
}
fn largest_unsigned_of_lanes(value: u32, lane: u32) -> u32 {
return u32(largest_of_lanes(i32(value ^ 0x80000000u), lane)) ^ 0x80000000u;
}
fn sum_of_lanes(value: i32, lane: u32) -> i32 {
return i32(pair_of_lanes(0, u32(value), lane).x);
}
fn other(b: Tensor, row: u32, col: u32) -> i32 {
return number(b, select(row, 0u, i32(b.rows) == 1), select(col, 0u, i32(b.cols) == 1));
}
fn op_add(c: Call, group: u32, groups: u32, lane: u32) {
for (var i = group * LANES + lane; i < c.rows_g * c.cols; i += groups * LANES) {
let row = i / c.cols; let col = c.first + i % c.cols;
put(row_at(c.g, row) + col, add_saturating(number(c.b, row, col), other(c.a, row, col)));
}
}
fn op_mul(c: Call, group: u32, groups: u32, lane: u32) {
let shift = c.b.frac + c.a.frac - c.g.frac;
for (var i = group * LANES + lane; i < c.rows_g * c.cols; i += groups * LANES) {
let row = i / c.cols; let col = c.first + i % c.cols;
put(row_at(c.g, row) + col, shift_round(multiply(number(c.b, row, col), other(c.a, row, col)), shift));
}
}
fn op_less(c: Call, group: u32, groups: u32, lane: u32) {
for (var i = group * LANES + lane; i < c.rows_g * c.cols; i += groups * LANES) {
let row = i / c.cols; let col = c.first + i % c.cols;
put_word(row_at(c.g, row) + col, select(0, 1, number(c.b, row, col) < other(c.a, row, col)));
}
}
fn op_equal(c: Call, group: u32, groups: u32, lane: u32) {
for (var i = group * LANES + lane; i < c.rows_g * c.cols; i += groups * LANES) {
let row = i / c.cols; let col = c.first + i % c.cols;
put_word(row_at(c.g, row) + col, select(0, 1, number(c.b, row, col) == other(c.a, row, col)));
}
}
fn op_select(c: Call, group: u32, groups: u32, lane: u32) {
for (var i = group * LANES + lane; i < c.rows_g * c.cols; i += groups * LANES) {
let row = i / c.cols; let col = c.first + i % c.cols;
if (number(c.b, row, col) != 0) { put_word(row_at(c.g, row) + col, number(c.a, row, col)); }
}
}
fn op_relu(c: Call, group: u32, groups: u32, lane: u32) {
for (var i = group * LANES + lane; i < c.rows_g * c.cols; i += groups * LANES) {
let row = i / c.cols; let col = c.first + i % c.cols;
put_word(row_at(c.g, row) + col, max(number(c.b, row, col), 0));
}
}
fn interpolate(table: Tensor, x: Fitted) -> i32 {
let steps = table.cols - 1u;
let bits = 22 - bit_length(steps);
let offset = u32(clamp(x.v, -1048576, 1048576) + 1048576);
let index = min(offset >> u32(bits), steps - 1u);
let here = number(table, 0u, index);
let slope = subtract(number(table, 0u, index + 1u), here).v;
return here + rescale(slope, offset - (index << u32(bits)), -bits).v;
}
fn op_table(c: Call, group: u32, groups: u32, lane: u32) {
let shift = c.a.frac - c.g.frac;
for (var i = group * LANES + lane; i < c.rows_g * c.cols; i += groups * LANES) {
let row = i / c.cols; let col = c.first + i % c.cols;
let y = interpolate(c.a, shift_round(pair(number(c.b, row, col)), c.b.frac - 16));
put(row_at(c.g, row) + col, shift_round(pair(y), shift));
}
}
fn op_gate(c: Call, group: u32, groups: u32, lane: u32) {
let shift = c.b.frac + c.a.frac - c.g.frac;
for (var i = group * LANES + lane; i < c.rows_g * c.cols; i += groups * LANES) {
let row = i / c.cols; let col = c.first + i % c.cols;
let x = number(c.b, row, col);
let y = interpolate(c.a, shift_round(pair(x), c.b.frac - 16));
put(row_at(c.g, row) + col, shift_round(multiply(x, y), shift));
}
}
fn op_embed(c: Call, group: u32, groups: u32, lane: u32) {
for (var i = group * LANES + lane; i < c.rows_g * c.cols; i += groups * LANES) {
let row = i / c.cols; let col = c.first + i % c.cols;
let id = clamp_index(number(c.b, row, 0u), c.a.rows);
let s = row_scale(c.a, id);
let v = weight_of(c.a, weight_at(c.a, id), col);
put(row_at(c.g, row) + col, rescale(v, s.m, s.e + c.g.frac));
}
}
fn rotate(c: Call, group: u32, groups: u32, lane: u32, apart: bool) {
let half = c.b.cols / 2u;
let pairs = c.cols / 2u;
let position = scalar(c.a);
for (var i = group * LANES + lane; i < c.rows_g * pairs; i += groups * LANES) {
let row = i / pairs;
let place = c.first / 2u + i % pairs;
let head = place / half; let j = place % half;
let angle = clamp_position(position, row, c.b.rows);
let cosine = short(c.b, angle, 2u * j);
let sine = short(c.b, angle, 2u * j + 1u);
let start = row_at(c.g, row) + head * 2u * half;
let first = start + select(2u * j, j, apart);
let second = first + select(1u, half, apart);
let a = i32(ld(first)); let b = i32(ld(second));
put(first, shift_round(pair_sub(multiply(a, cosine), multiply(b, sine)), 14));
put(second, shift_round(pair_add(multiply(a, sine), multiply(b, cosine)), 14));
}
}
fn op_ropepairs(c: Call, group: u32, groups: u32, lane: u32) { rotate(c, group, groups, lane, false); }
fn op_ropehalves(c: Call, group: u32, groups: u32, lane: u32) { rotate(c, group, groups, lane, true); }
fn op_copy(c: Call, group: u32, groups: u32, lane: u32) {
let all = c.b.rows * c.b.cols;
for (var i = group * LANES + lane; i < all; i += groups * LANES) {
put_word(flat_at(c.g, i), number_flat(c.b, i));
}
}
fn op_transpose(c: Call, group: u32, groups: u32, lane: u32) {
var extents = array<u32, 4>(c.b.e0, c.b.e1, c.b.e2, c.b.e3);
var strides = array<u32, 4>(extents[1] * extents[2] * extents[3], extents[2] * extents[3], extents[3], 1u);
let all = c.b.rows * c.b.cols;
for (var i = group * LANES + lane; i < all; i += groups * LANES) {
var rest = i;
var at = 0u;
for (var axis = 4u; axis > 0u; axis--) {
let from_axis = parameter(c, axis - 1u);
at += rest % extents[from_axis] * strides[from_axis];
rest = rest / extents[from_axis];
}
put_word(flat_at(c.g, i), number_flat(c.b, at));
}
}
fn op_slice(c: Call, group: u32, groups: u32, lane: u32) {
let cols = c.g.cols;
for (var i = group * LANES + lane; i < c.rows_g * cols; i += groups * LANES) {
let row = i / cols; let col = i % cols;
put_word(row_at(c.g, row) + col, number(c.b, row, parameter(c, 0u) + col * parameter(c, 1u)));
}
}
fn op_concat(c: Call, group: u32, groups: u32, lane: u32) {
let cols = c.b.cols;
for (var i = group * LANES + lane; i < c.rows_g * cols; i += groups * LANES) {
let row = i / cols; let col = i % cols;
put_word(row_at(c.g, row) + parameter(c, 0u) + col, number(c.b, row, col));
}
}
fn op_tail(c: Call, group: u32, groups: u32, lane: u32) {
let cols = c.g.cols;
for (var i = group * LANES + lane; i < c.rows_g * cols; i += groups * LANES) {
let row = i / cols; let col = i % cols;
let source = max(i32(c.rows_b) - i32(c.rows_g) + i32(row), 0);
put_word(row_at(c.g, row) + col, number(c.b, u32(source), col));
}
}
fn op_push(c: Call, group: u32, groups: u32, lane: u32) {
let cols = c.g.cols;
let rows = c.g.rows;
let length = scalar(c.a);
for (var i = group * LANES + lane; i < c.rows_b * cols; i += groups * LANES) {
let row = i / cols; let col = i % cols;
let place = clamp_position(length, row, rows);
if (row + 1u < c.rows_b && clamp_position(length, row + 1u, rows) == place) { continue; }
put_word(row_at(c.g, place) + col, number(c.b, row, col));
}
}
fn op_push_length(c: Call, group: u32, groups: u32, lane: u32) {
if (group == 0u && lane == 0u) {
put_word(c.a.start, min(add_saturating(scalar(c.a), i32(c.rows_b)).v, i32(c.g.rows)));
}
}
fn op_fill(c: Call, group: u32, groups: u32, lane: u32) {
let cols = c.g.cols;
let value = scalar(c.b);
for (var i = group * LANES + lane; i < c.rows_g * cols; i += groups * LANES) {
put_word(row_at(c.g, i / cols) + i % cols, value);
}
}
fn op_blit(c: Call, group: u32, groups: u32, lane: u32) {
let glyphs = c.a.e0; let height = c.a.e1; let width = c.a.e2;
let per_line = c.g.cols / width;
let all = c.b.rows * c.b.cols;
for (var i = group * LANES + lane; i < all * height * width; i += groups * LANES) {
let place = i / (height * width);
let y = i / width % height; let x = i % width;
let code = clamp_index(max(number_flat(c.b, place), -2147483616) - 32, glyphs);
let line = place / per_line; let column = place % per_line;
if ((line + 1u) * height <= c.g.rows) {
let at = row_at(c.g, line * height + y) + column * width + x;
put_word(at, number(c.a, code * height + y, x));
}
}
}
fn op_clear(c: Call, group: u32, groups: u32, lane: u32) {
let words = c.g.row_words;
for (var i = group * LANES + lane; i < c.rows_g * words; i += groups * LANES) {
put_word(row_at(c.g, i / words) + i % words, 0);
}
}
var<workgroup> staged: array<u32, STAGED>;
fn near(start: u32, i: u32) -> i32 {
if (i < STAGED) { return i32(staged[i]); }
return i32(ld(start + i));
}
const NO_RANGE = vec2<i32>(HIGHEST, LOWEST);
fn bring_near(start: u32, cols: u32, lane: u32) -> vec2<i32> {
var range = NO_RANGE;
workgroupBarrier();
for (var i = lane; i < cols; i += LANES) {
let v = i32(ld(start + i));
if (i < STAGED) { staged[i] = u32(v); }
range = vec2<i32>(min(range.x, v), max(range.y, v));
}
return range_of_lanes(range, lane);
}
fn farther(range: vec2<i32>) -> u32 { return max(magnitude(range.x), magnitude(range.y)); }
struct Steps { shift: u32, m: i32, scale: Scale }
fn fourteen_bits(range: vec2<i32>, frac: i32) -> Steps {
let shift = max(bit_length(farther(range)) - 14, 0);
return Steps(u32(shift), 0, normalise(1u, shift - frac));
}
fn seven_bits(range: vec2<i32>, frac: i32) -> Steps {
let shift = u32(max(bit_length(farther(range)) - 22, 0));
let small = vec2<i32>(shift_down(range.x, shift), shift_down(range.y, shift));
let m = max(farther(small), 1u);
let up = 31 - bit_length(m);
return Steps(shift, i32(m), normalise((m << u32(up)) / 127u, i32(shift) - frac - up));
}
fn steps_of(d: Tensor, range: vec2<i32>, frac: i32) -> Steps {
if (planes(d) == 1u) { return seven_bits(range, frac); }
return fourteen_bits(range, frac);
}
fn quantised(x: i32, s: Steps) -> i32 {
let small = shift_down(x, s.shift);
if (s.m == 0) { return small; }
return divide_floor(254 * small + s.m, 2 * s.m);
}
struct Packed { low: u32, high: u32 }
fn packed(p: Packed, i: u32, v: i32, two: bool) -> Packed {
if (!two) { return Packed(p.low | (u32(v + 128) << (8u * i)), 0u); }
let high = (v + 128) >> 8u;
return Packed(p.low | (u32(v - 256 * high + 128) << (8u * i)), p.high | (u32(high + 128) << (8u * i)));
}
fn put_quad(d: Tensor, start: u32, quad: u32, p: Packed) {
st(start + quad, p.low);
if (planes(d) == 2u) { st(start + quads(d) + quad, p.high); }
}
fn put_scale(d: Tensor, start: u32, s: Scale) { st(start + d.row_words - 1u, scale_word(s)); }
fn op_quantise(c: Call, group: u32, groups: u32, lane: u32) {
for (var row = group; row < c.rows_g; row += groups) {
let from_row = row_at(c.b, row); let start = row_at(c.g, row); let two = planes(c.g) == 2u;
let s = steps_of(c.g, bring_near(from_row, c.b.cols, lane), c.b.frac);
for (var quad = lane; quad < quads(c.g); quad += LANES) {
var p = Packed(0u, 0u);
for (var i = 0u; i < quad_size(); i++) { p = packed(p, i, quantised(near(from_row, 4u * quad + i), s), two); }
put_quad(c.g, start, quad, p);
}
if (lane == 0u) { put_scale(c.g, start, s.scale); }
}
}
fn weighed(x: i32, less: i32, shift: u32, weight: i32) -> i32 { return shift_down(subtract(x, less).v, shift) * weight; }
fn norm_scale(c: Call, cols: u32, sum: vec2<u32>, shift: u32) -> Scale {
let weight_scale = row_scale(c.a, 0u);
let epsilon = clamp(rescale(i32(cols), weight_scale.m, weight_scale.e + 2 * (c.b.frac - i32(shift))).v, 1, HIGHEST);
return inverse_root(cols, pair_add(sum, pair(epsilon)));
}
fn normalise_row(c: Call, row: u32, less: i32, lane: u32) {
let cols = c.b.cols;
let start = row_at(c.b, row); let target_row = row_at(c.g, row);
let span = bring_near(start, cols, lane);
let farthest = farther(vec2<i32>(subtract(span.x, less).v, subtract(span.y, less).v));
let shift = u32(max(bit_length(farthest) - 15, 0));
var high = 0; var low = 0u;
for (var i = lane; i < cols; i += LANES) {
let small = shift_down(subtract(near(start, i), less).v, shift);
let square = small * small;
high += square >> 16u;
low += u32(square) & 65535u;
}
let sum = pair_of_lanes(high, low, lane);
let weight_frac = c.a.frac;
if (!is_activation(c.g)) {
let scale = norm_scale(c, cols, sum, shift);
let e = scale.e + c.g.frac - weight_frac;
for (var i = lane; i < cols; i += LANES) {
let v = weighed(near(start, i), less, shift, short(c.a, 0u, i));
put(target_row + i, add(rescale(v, scale.m, e), bias(c.a, i)));
}
return;
}
var range = NO_RANGE;
for (var i = lane; i < cols; i += LANES) {
let v = weighed(near(start, i), less, shift, short(c.a, 0u, i));
range = vec2<i32>(min(range.x, v), max(range.y, v));
}
let s = steps_of(c.g, range_of_lanes(range, lane), weight_frac);
let two = planes(c.g) == 2u;
for (var quad = lane; quad < quads(c.g); quad += LANES) {
var p = Packed(0u, 0u);
for (var j = 0u; j < quad_size(); j++) {
let i = 4u * quad + j;
p = packed(p, j, quantised(weighed(near(start, i), less, shift, short(c.a, 0u, i)), s), two);
}
put_quad(c.g, target_row, quad, p);
}
if (lane == LANES - 1u) { put_scale(c.g, target_row, multiply_scales(s.scale, norm_scale(c, cols, sum, shift))); }
}
fn op_rmsnorm(c: Call, group: u32, groups: u32, lane: u32) {
for (var row = group; row < c.rows_g; row += groups) { normalise_row(c, row, 0, lane); }
}
fn row_sum(d: Tensor, row: u32, lane: u32) -> vec2<u32> {
let start = row_at(d, row);
var high = 0; var low = 0u;
for (var i = lane; i < d.cols; i += LANES) {
let v = i32(ld(start + i));
high += v >> 16u;
low += u32(v) & 65535u;
}
return pair_of_lanes(high, low, lane);
}
fn op_layernorm(c: Call, group: u32, groups: u32, lane: u32) {
for (var row = group; row < c.rows_g; row += groups) {
normalise_row(c, row, mean(row_sum(c.b, row, lane), c.b.cols), lane);
}
}
fn op_l2norm(c: Call, group: u32, groups: u32, lane: u32) {
let cols = c.b.cols;
for (var row = group; row < c.rows_g; row += groups) {
let start = row_at(c.b, row); let target_row = row_at(c.g, row);
let shift = max(bit_length(farther(bring_near(start, cols, lane))) - 15, 0);
var high = 0; var low = 0u;
for (var i = lane; i < cols; i += LANES) {
let small = shift_down(near(start, i), u32(shift));
let square = small * small;
high += square >> 16u;
low += u32(square) & 65535u;
}
var sum = pair_of_lanes(high, low, lane);
if (sum.x == 0u && sum.y == 0u) { sum.x = 1u; }
let scale = inverse_root(1u, sum);
let e = scale.e - shift + c.g.frac;
for (var i = lane; i < cols; i += LANES) { put(target_row + i, rescale(near(start, i), scale.m, e)); }
}
}
fn row_largest(d: Tensor, row: u32, lane: u32) -> i32 {
let start = row_at(d, row);
var top = LOWEST;
for (var i = lane; i < d.cols; i += LANES) { top = max(top, i32(ld(start + i))); }
return largest_of_lanes(top, lane);
}
fn softmax_weight(x: i32, top: i32, frac: i32) -> i32 {
return exp2_negative(u32(rescale(subtract(top, x).v, LOG2E_M, LOG2E_E + 16 - frac).v));
}
fn op_softmax(c: Call, group: u32, groups: u32, lane: u32) {
let cols = c.b.cols; let frac = c.b.frac;
for (var row = group; row < c.rows_g; row += groups) {
let start = row_at(c.b, row); let target_row = row_at(c.g, row);
let top = row_largest(c.b, row, lane);
var high = 0; var low = 0u;
for (var i = lane; i < cols; i += LANES) {
let w = softmax_weight(i32(ld(start + i)), top, frac);
high += w >> 16u;
low += u32(w) & 65535u;
}
let s = reciprocal(pair_of_lanes(high, low, lane));
for (var i = lane; i < cols; i += LANES) {
let w = softmax_weight(i32(ld(start + i)), top, frac);
put(target_row + i, rescale(w, s.m, s.e + c.g.frac));
}
}
}
fn op_sum(c: Call, group: u32, groups: u32, lane: u32) {
for (var row = group; row < c.rows_g; row += groups) {
let sum = row_sum(c.b, row, lane);
if (lane == 0u) { put(row_at(c.g, row), fit(sum)); }
}
}
fn op_mean(c: Call, group: u32, groups: u32, lane: u32) {
for (var row = group; row < c.rows_g; row += groups) {
let sum = row_sum(c.b, row, lane);
if (lane == 0u) { put_word(row_at(c.g, row), mean(sum, c.b.cols)); }
}
}
fn op_max(c: Call, group: u32, groups: u32, lane: u32) {
for (var row = group; row < c.rows_g; row += groups) {
let top = row_largest(c.b, row, lane);
if (lane == 0u) { put_word(row_at(c.g, row), top); }
}
}
fn op_dot(c: Call, group: u32, groups: u32, lane: u32) {
let shift = c.b.frac + c.a.frac - c.g.frac;
for (var row = group; row < c.rows_g; row += groups) {
let left = row_at(c.b, row); let right = row_at(c.a, row);
var high = 0; var low = 0u;
for (var i = lane; i < c.b.cols; i += LANES) {
let term = shift_round(multiply(i32(ld(left + i)), i32(ld(right + i))), shift);
if (term.over) { st(SATURATED, 1u); }
high += term.v >> 16u;
low += u32(term.v) & 65535u;
}
let sum = pair_of_lanes(high, low, lane);
if (lane == 0u) { put(row_at(c.g, row), fit(sum)); }
}
}
struct Best { v: i32, i: u32 }
fn next_best(d: Tensor, row: u32, after: Best, first: bool, lane: u32) -> Best {
let start = row_at(d, row);
var top = LOWEST; var at = 0xffffffffu;
for (var i = lane; i < d.cols; i += LANES) {
let v = i32(ld(start + i));
let open = first || v < after.v || (v == after.v && i > after.i);
if (open && (v > top || at == 0xffffffffu)) { top = v; at = i; }
}
let value = largest_of_lanes(top, lane);
let found = select(0xffffffffu, at, top == value);
return Best(value, ~largest_unsigned_of_lanes(~found, lane));
}
fn op_argmax(c: Call, group: u32, groups: u32, lane: u32) {
for (var row = group; row < c.rows_g; row += groups) {
let best = next_best(c.b, row, Best(0, 0u), true, lane);
if (lane == 0u) { put_word(row_at(c.g, row), i32(best.i)); }
}
}
fn op_topk(c: Call, group: u32, groups: u32, lane: u32) {
for (var row = group; row < c.rows_g; row += groups) {
var best = Best(0, 0u);
for (var k = 0u; k < c.g.cols; k++) {
best = next_best(c.b, row, best, k == 0u, lane);
if (lane == 0u) {
put_word(row_at(c.g, row) + k, i32(best.i));
put_word(row_at(c.a, row) + k, best.v);
}
}
}
}
fn op_append(c: Call, group: u32, groups: u32, lane: u32) {
let heads = c.g.e0; let context = c.g.e1; let width = c.g.e2;
let position = scalar(c.a);
for (var i = group; i < c.rows_b * heads; i += groups) {
let row = i / heads; let head = i % heads;
let place = clamp_position(position, row, context);
let stays = row + 1u >= c.rows_b || clamp_position(position, row + 1u, context) != place;
let start = row_at(c.b, row) + head * width;
let s = seven_bits(bring_near(start, width, lane), c.b.frac);
if (stays) {
let target_row = row_at(c.g, head * context + place);
for (var quad = lane; quad < width / 4u; quad += LANES) {
var p = Packed(0u, 0u);
for (var j = 0u; j < quad_size(); j++) { p = packed(p, j, quantised(near(start, 4u * quad + j), s), false); }
put_quad(c.g, target_row, quad, p);
}
if (lane == 0u) { put_scale(c.g, target_row, s.scale); }
}
}
}
fn op_meanpool(c: Call, group: u32, groups: u32, lane: u32) {
let span = parameter_tensor(c, 0u); let lengths = parameter_tensor(c, 1u);
let cols = c.b.cols;
let step = u32(clamp(scalar(span), 1, i32(c.b.rows)));
let known = lengths.rows * lengths.cols;
for (var i = group * LANES + lane; i < c.rows_g * cols; i += groups * LANES) {
let block = i / cols; let col = i % cols;
let wanted = u32(clamp(number_flat(lengths, min(block, known - 1u)), 1, i32(step)));
let first = select(block * step, c.rows_b, block > c.rows_b / step);
let stop = min(first + wanted, c.rows_b);
var high = 0; var low = 0u; var n = 0u;
for (var row = first; row < stop; row++) {
let v = number(c.b, row, col);
high += v >> 16u;
low += u32(v) & 65535u;
n += 1u;
}
put_word(row_at(c.g, block) + col, mean(pair_of_halves(high, low), max(n, 1u)));
}
}
fn excess(terms: u32, plane_count: u32) -> u32 {
let most = multiply_unsigned(terms * select(1u, 257u, plane_count > 2u), select(1u, 257u, plane_count > 3u));
return u32(max(select(bit_length(most.x), 32 + bit_length(most.y), most.y > 0u) - 17, 0));
}
fn scaled(c: Call, row: u32, col: u32, total: i32, shift: u32) -> Fitted {
let s = multiply_scales(row_scale(c.b, row), row_scale(c.a, col));
return add(rescale(total, s.m, s.e + i32(shift) + c.g.frac), bias(c.a, col));
}
fn apart(start: u32, q: u32, step: u32, end: u32) -> vec4<u32> {
var v = vec4<u32>();
if (q < end) { v.x = weight_four(start, q); }
if (q + step < end) { v.y = weight_four(start, q + step); }
if (q + 2u * step < end) { v.z = weight_four(start, q + 2u * step); }
if (q + 3u * step < end) { v.w = weight_four(start, q + 3u * step); }
return v;
}
fn lanes_together(rows: u32) -> u32 {
var together = LANES;
while (together > 8u && LANES / together < rows) { together = together / 2u; }
return together;
}
fn gather(low: i32, high: i32, together: u32, lane: u32) {
gathered[lane] = low;
gathered_too[lane] = u32(high);
for (var step = together / 2u; step > 0u; step = step / 2u) {
workgroupBarrier();
if (lane % together < step) {
gathered[lane] += gathered[lane + step];
gathered_too[lane] += gathered_too[lane + step];
}
}
}
fn linear_of_few(c: Call, group: u32, groups: u32, lane: u32) {
let n = c.a.rows; let words = quads(c.a);
let two = planes(c.b) == 2u;
let shift = excess(c.b.cols, planes(c.b) + 1u);
let share = share_of(n, group, groups);
let together = lanes_together(share.y);
let each = LANES / together;
for (var row = 0u; row < c.rows_g; row++) {
let x = row_at(c.b, row);
for (var block = 0u; block < share.y; block += each) {
let inside = block + lane / together < share.y;
let col = share.x + min(block + lane / together, share.y - 1u);
let w = weight_at(c.a, col);
let s = multiply_scales(row_scale(c.b, row), row_scale(c.a, col));
var low = 0; var high = 0;
for (var first = 0u; first < words; first += STAGED / 2u) {
let part = min(words - first, STAGED / 2u);
var q = lane % together;
var four_of_w = apart(w + first, q, together, part);
if (block == 0u || words > STAGED / 2u) {
workgroupBarrier();
for (var i = lane; i < part; i += LANES) {
staged[i] = four(c.b, x, 0u, first + i);
if (two) { staged[STAGED / 2u + i] = four(c.b, x, 1u, first + i); }
}
workgroupBarrier();
}
while (q < part) {
for (var i = 0u; i < 4u; i++) {
let at = min(q + i * together, STAGED / 2u - 1u);
low += dot4I8Packed(four_of_w[i], staged[at]);
if (two) { high += dot4I8Packed(four_of_w[i], staged[STAGED / 2u + at]); }
}
q += 4u * together;
four_of_w = apart(w + first, q, together, part);
}
}
gather(low, high, together, lane);
if (lane % together == 0u && inside) {
let total = joined(gathered[lane], i32(gathered_too[lane]), shift, two);
put(row_at(c.g, row) + col, add(rescale(total, s.m, s.e + i32(shift) + c.g.frac), bias(c.a, col)));
}
workgroupBarrier();
}
}
}
fn joined(low: i32, high: i32, shift: u32, two: bool) -> i32 {
return select(low, (high << (8u - shift)) + shift_down(low, shift), two);
}
const TALL: u32 = LANES / 4u;
const DEEP: u32 = 4u;
const TILES: u32 = DEEP * (WIDE + 2u * TALL);
var<workgroup> pool: array<vec4<u32>, TILES>;
fn weight_vector(start: u32, first: u32, words: u32) -> vec4<u32> {
var v = vec4<u32>();
if (first < words) { v.x = weight_four(start, first); }
if (first + 1u < words) { v.y = weight_four(start, first + 1u); }
if (first + 2u < words) { v.z = weight_four(start, first + 2u); }
if (first + 3u < words) { v.w = weight_four(start, first + 3u); }
return v;
}
fn vector(start: u32, first: u32, words: u32) -> vec4<u32> {
var v = vec4<u32>();
if (first < words) { v.x = ld(start + first) ^ 0x80808080u; }
if (first + 1u < words) { v.y = ld(start + first + 1u) ^ 0x80808080u; }
if (first + 2u < words) { v.z = ld(start + first + 2u) ^ 0x80808080u; }
if (first + 3u < words) { v.w = ld(start + first + 3u) ^ 0x80808080u; }
return v;
}
fn dot16(a: vec4<u32>, b: vec4<u32>) -> i32 {
return dot4I8Packed(a.x, b.x) + dot4I8Packed(a.y, b.y) + dot4I8Packed(a.z, b.z) + dot4I8Packed(a.w, b.w);
}
fn dots(a: vec4<u32>, w0: vec4<u32>, w1: vec4<u32>, w2: vec4<u32>, w3: vec4<u32>) -> vec4<i32> {
return vec4<i32>(dot16(a, w0), dot16(a, w1), dot16(a, w2), dot16(a, w3));
}
fn linear_of_many(c: Call, group: u32, groups: u32, lane: u32) {
let n = c.a.rows; let words = quads(c.a);
let plane_count = planes(c.b); let two = plane_count == 2u;
let shift = excess(c.b.cols, plane_count + 1u);
let across = (n + WIDE - 1u) / WIDE;
let tiles = across * ((c.rows_g + TALL - 1u) / TALL);
let x = lane % 16u; let y = lane / 16u;
for (var tile = group; tile < tiles; tile += groups) {
let col0 = tile % across * WIDE; let row0 = tile / across * TALL;
var low0 = vec4<i32>(); var low1 = vec4<i32>(); var low2 = vec4<i32>(); var low3 = vec4<i32>();
var high0 = vec4<i32>(); var high1 = vec4<i32>(); var high2 = vec4<i32>(); var high3 = vec4<i32>();
for (var first = 0u; first < words; first += 4u * DEEP) {
workgroupBarrier();
for (var i = lane; i < DEEP * WIDE; i += LANES) {
let col = col0 + i / DEEP;
var v = vec4<u32>();
if (col < n) { v = weight_vector(weight_at(c.a, col), first + i % DEEP * 4u, words); }
pool[i % DEEP * WIDE + i / DEEP] = v;
}
for (var i = lane; i < plane_count * DEEP * TALL; i += LANES) {
let row = row0 + i / DEEP % TALL; let plane = i / (DEEP * TALL);
var v = vec4<u32>();
if (row < c.rows_g) { v = vector(row_at(c.b, row) + plane * words, first + i % DEEP * 4u, words); }
pool[DEEP * (WIDE + plane * TALL) + i % DEEP * TALL + i / DEEP % TALL] = v;
}
workgroupBarrier();
for (var deep = 0u; deep < DEEP; deep++) {
let w = deep * WIDE + x;
let w0 = pool[w]; let w1 = pool[w + 16u]; let w2 = pool[w + 32u]; let w3 = pool[w + 48u];
let at = DEEP * WIDE + deep * TALL + y;
low0 += dots(pool[at], w0, w1, w2, w3);
low1 += dots(pool[at + TALL / 4u], w0, w1, w2, w3);
low2 += dots(pool[at + TALL / 2u], w0, w1, w2, w3);
low3 += dots(pool[at + TALL / 4u * 3u], w0, w1, w2, w3);
if (two) {
let above = at + DEEP * TALL;
high0 += dots(pool[above], w0, w1, w2, w3);
high1 += dots(pool[above + TALL / 4u], w0, w1, w2, w3);
high2 += dots(pool[above + TALL / 2u], w0, w1, w2, w3);
high3 += dots(pool[above + TALL / 4u * 3u], w0, w1, w2, w3);
}
}
}
var low = array<vec4<i32>, 4>(low0, low1, low2, low3);
var high = array<vec4<i32>, 4>(high0, high1, high2, high3);
for (var j = 0u; j < 4u; j++) {
let row = row0 + y + j * (TALL / 4u);
for (var i = 0u; i < 4u; i++) {
let col = col0 + x + 16u * i;
if (row < c.rows_g && col < n) {
put(row_at(c.g, row) + col, scaled(c, row, col, joined(low[j][i], high[j][i], shift, two), shift));
}
}
}
}
}
fn op_linear(c: Call, group: u32, groups: u32, lane: u32) {
let few = c.rows_g <= FEW;
if (is_grouped(c.a)) {
if (few) { groups_of_few(c, group, groups, lane); } else { groups_of_many(c, group, groups, lane); }
return;
}
if (few) { linear_of_few(c, group, groups, lane); } else { linear_of_many(c, group, groups, lane); }
}
fn op_matmul(c: Call, group: u32, groups: u32, lane: u32) {
let n = c.a.rows; let words = quads(c.a);
let shift = excess(c.b.cols, planes(c.b) + planes(c.a));
for (var i = group * LANES + lane; i < c.rows_g * n; i += groups * LANES) {
let row = i / n; let col = i % n;
let x = row_at(c.b, row); let w = row_at(c.a, col);
var low = 0; var mid = pair(0); var high = 0;
for (var q = 0u; q < words; q++) {
let a = four(c.b, x, 0u, q); let b = four(c.a, w, 0u, q);
low += dot4I8Packed(a, b);
var cross = 0;
if (planes(c.b) == 2u) { cross += dot4I8Packed(four(c.b, x, 1u, q), b); }
if (planes(c.a) == 2u) { cross += dot4I8Packed(a, four(c.a, w, 1u, q)); }
if (planes(c.b) == 2u && planes(c.a) == 2u) { high += dot4I8Packed(four(c.b, x, 1u, q), four(c.a, w, 1u, q)); }
mid = pair_add(mid, pair(cross));
}
var total = pair_add(pair(low), vec2<u32>(mid.x << 8u, (mid.y << 8u) | (mid.x >> 24u)));
total = pair_add(total, vec2<u32>(u32(high) << 16u, u32(high >> 16u)));
put(row_at(c.g, row) + col, scaled(c, row, col, i32(pair_shift_round(total, shift).x), shift));
}
}
fn op_conv2d(c: Call, group: u32, groups: u32, lane: u32) {
let w = parameter_tensor(c, 0u); let height = i32(parameter(c, 1u)); let width = i32(parameter(c, 2u));
let size = i32(parameter(c, 3u)); let stride = i32(parameter(c, 4u)); let pad = i32(parameter(c, 5u));
let channels = i32(c.b.cols) / (height * width);
let kernels = w.rows; let across = u32((width + 2 * pad - size) / stride + 1);
let cols = c.g.cols;
let shift = excess(w.cols, planes(c.b) + 1u);
for (var i = group * LANES + lane; i < c.rows_g * cols; i += groups * LANES) {
let row = i / cols; let col = i % cols;
let kernel = col % kernels; let place = col / kernels;
let top = i32(place / across) * stride - pad; let left = i32(place % across) * stride - pad;
let x = row_at(c.b, row); let weights = weight_at(w, kernel);
var low = 0; var high = 0;
for (var ky = max(-top, 0); ky < min(size, height - top); ky++) {
for (var kx = max(-left, 0); kx < min(size, width - left); kx++) {
let pixel = ((top + ky) * width + left + kx) * channels;
let weight_at = (ky * size + kx) * channels;
for (var ch = 0; ch < channels; ch++) {
let a = u32(pixel + ch); let b = u32(weight_at + ch);
let v = weight(weights, b);
low += v * byte_of(four(c.b, x, 0u, a / 4u), a);
if (planes(c.b) == 2u) { high += v * byte_of(four(c.b, x, 1u, a / 4u), a); }
}
}
}
let total = select(low, (high << (8u - shift)) + shift_down(low, shift), planes(c.b) == 2u);
let s = multiply_scales(row_scale(c.b, row), row_scale(w, kernel));
put(row_at(c.g, row) + col, add(rescale(total, s.m, s.e + i32(shift) + c.g.frac), bias(w, kernel)));
}
}
struct Window { first: u32, size: u32, down: u32, right: u32 }
fn window(c: Call, row: u32, col: u32) -> Window {
let width = parameter(c, 1u); let size = parameter(c, 2u); let stride = parameter(c, 3u);
let channels = c.b.cols / (parameter(c, 0u) * width);
let across = (width - size) / stride + 1u;
let place = col / channels;
let at = (place / across * width + place % across) * stride;
return Window(row_at(c.b, row) + at * channels + col % channels, size, width * channels, channels);
}
fn in_window(c: Call, w: Window, i: u32) -> i32 {
return i32(ld(w.first + i / w.size * w.down + i % w.size * w.right));
}
fn op_maxpool(c: Call, group: u32, groups: u32, lane: u32) {
for (var i = group * LANES + lane; i < c.rows_g * c.cols; i += groups * LANES) {
let row = i / c.cols; let col = c.first + i % c.cols;
let w = window(c, row, col);
var top = LOWEST;
for (var j = 0u; j < w.size * w.size; j++) { top = max(top, in_window(c, w, j)); }
put_word(row_at(c.g, row) + col, top);
}
}
fn op_avgpool(c: Call, group: u32, groups: u32, lane: u32) {
for (var i = group * LANES + lane; i < c.rows_g * c.cols; i += groups * LANES) {
let row = i / c.cols; let col = c.first + i % c.cols;
let w = window(c, row, col);
var high = 0; var low = 0u;
for (var j = 0u; j < w.size * w.size; j++) {
let v = in_window(c, w, j);
high += v >> 16u;
low += u32(v) & 65535u;
}
put_word(row_at(c.g, row) + col, mean(pair_of_halves(high, low), w.size * w.size));
}
}
const HALF: u32 = 0x0f0f0f0fu;
const ONES: vec4<u32> = vec4<u32>(0x01010101u);
struct Group { codes: vec4<u32>, ends: Ends }
fn group_at(d: Tensor, start: u32, g: u32) -> Group {
let at = start + 4u * g;
return Group(vec4<u32>(image(at), image(at + 1u), image(at + 2u), image(at + 3u)), ends_at(d, start, g));
}
fn half_of_group(d: Tensor, start: u32, plane: u32, g: u32, half: u32) -> vec4<u32> {
let q = 8u * g + half;
return vec4<u32>(four(d, start, plane, q), four(d, start, plane, q + 2u), four(d, start, plane, q + 4u), four(d, start, plane, q + 6u));
}
fn excess_of_groups(c: Call) -> u32 {
let most = multiply_unsigned(c.b.cols * LARGEST_I4, select(LARGEST_ACT1, LARGEST_ACT2, planes(c.b) == 2u));
return u32(max(select(bit_length(most.x), 32 + bit_length(most.y), most.y > 0u) - 31, 0));
}
fn joined_groups(high: i32, low: u32, shift: u32) -> i32 {
return i32(pair_shift_round(pair_of_halves(high, low - (u32(high) << 16u)), shift).x);
}
const HELD: u32 = 128u;
fn sum_of_group(g: Group, at: u32) -> i32 {
let codes = dot16(g.codes & vec4<u32>(HALF), pool[at]) + dot16((g.codes >> vec4<u32>(4u)) & vec4<u32>(HALF), pool[at + HELD]);
return g.ends.scale * codes + g.ends.minimum * i32(staged[at] + staged[at + HELD]);
}
fn groups_of_few(c: Call, group: u32, groups: u32, lane: u32) {
let count = c.a.cols / GROUP;
let two = planes(c.b) == 2u;
let shift = excess_of_groups(c);
let share = share_of(c.a.rows, group, groups);
let together = lanes_together(share.y);
let each = LANES / together;
for (var row = 0u; row < c.rows_g; row++) {
let x = row_at(c.b, row);
for (var block = 0u; block < share.y; block += each) {
let inside = block + lane / together < share.y;
let col = share.x + min(block + lane / together, share.y - 1u);
let w = weight_at(c.a, col);
var low = 0u; var high = 0;
for (var first = 0u; first < count; first += HELD) {
let part = min(count - first, HELD);
var g = lane % together;
var now = group_at(c.a, w, first + min(g, part - 1u));
if (block == 0u || count > HELD) {
workgroupBarrier();
for (var i = lane; i < 2u * planes(c.b) * part; i += LANES) {
let half = i / part;
let v = half_of_group(c.b, x, half / 2u, first + i % part, half % 2u);
pool[half * HELD + i % part] = v;
staged[half * HELD + i % part] = u32(dot16(ONES, v));
}
workgroupBarrier();
}
while (g < part) {
let a = sum_of_group(now, g);
var b = 0;
if (two) { b = sum_of_group(now, 2u * HELD + g); }
high += (a >> 16u) + (b >> 8u);
low += u32(a) + (u32(b) << 8u);
g += together;
now = group_at(c.a, w, first + min(g, part - 1u));
}
}
gather(i32(low), high, together, lane);
if (lane % together == 0u && inside) {
let total = joined_groups(i32(gathered_too[lane]), u32(gathered[lane]), shift);
put(row_at(c.g, row) + col, scaled(c, row, col, total, shift));
}
workgroupBarrier();
}
}
}
struct Codes {
a0: vec4<u32>, a1: vec4<u32>, a2: vec4<u32>, a3: vec4<u32>,
b0: vec4<u32>, b1: vec4<u32>, b2: vec4<u32>, b3: vec4<u32>,
scale: vec4<i32>, minimum: vec4<i32>,
}
fn codes_at(g: u32, x: u32) -> Codes {
let a = 2u * g * WIDE + x; let b = a + WIDE;
let at = g * WIDE + x;
let ends = vec4<i32>(gathered[at], gathered[at + 16u], gathered[at + 32u], gathered[at + 48u]);
return Codes(
pool[a], pool[a + 16u], pool[a + 32u], pool[a + 48u], pool[b], pool[b + 16u], pool[b + 32u], pool[b + 48u],
ends & vec4<i32>(255), ends >> vec4<u32>(16u),
);
}
fn sums_of_group(c: Codes, at: u32) -> vec4<i32> {
let codes = dots(pool[at], c.a0, c.a1, c.a2, c.a3) + dots(pool[at + TALL], c.b0, c.b1, c.b2, c.b3);
let sum = i32(staged[at - DEEP * WIDE] + staged[at - DEEP * WIDE + TALL]);
return c.scale * codes + c.minimum * vec4<i32>(sum);
}
struct Sums { high: vec4<i32>, low: vec4<u32> }
fn with_group(s: Sums, c: Codes, at: u32, two: bool) -> Sums {
let a = sums_of_group(c, at);
var b = vec4<i32>();
if (two) { b = sums_of_group(c, at + DEEP * TALL); }
return Sums(
s.high + (a >> vec4<u32>(16u)) + (b >> vec4<u32>(8u)),
s.low + bitcast<vec4<u32>>(a) + (bitcast<vec4<u32>>(b) << vec4<u32>(8u)),
);
}
fn groups_of_many(c: Call, group: u32, groups: u32, lane: u32) {
let n = c.a.rows; let count = c.a.cols / GROUP;
let plane_count = planes(c.b); let two = plane_count == 2u;
let shift = excess_of_groups(c);
let across = (n + WIDE - 1u) / WIDE;
let tiles = across * ((c.rows_g + TALL - 1u) / TALL);
let x = lane % 16u; let y = lane / 16u;
for (var tile = group; tile < tiles; tile += groups) {
let col0 = tile % across * WIDE; let row0 = tile / across * TALL;
var s0 = Sums(); var s1 = Sums(); var s2 = Sums(); var s3 = Sums();
for (var first = 0u; first < count; first += 2u) {
workgroupBarrier();
for (var i = lane; i < 2u * WIDE; i += LANES) {
let col = col0 + i / 2u; let g = i % 2u;
var v = Group();
if (col < n && first + g < count) { v = group_at(c.a, weight_at(c.a, col), first + g); }
let at = 2u * g * WIDE + i / 2u;
pool[at] = v.codes & vec4<u32>(HALF);
pool[at + WIDE] = (v.codes >> vec4<u32>(4u)) & vec4<u32>(HALF);
gathered[g * WIDE + i / 2u] = (v.ends.minimum << 16u) | v.ends.scale;
}
for (var i = lane; i < plane_count * DEEP * TALL; i += LANES) {
let row = row0 + i / DEEP % TALL; let plane = i / (DEEP * TALL);
let half = i % DEEP; let g = first + half / 2u;
var v = vec4<u32>();
if (row < c.rows_g && g < count) { v = half_of_group(c.b, row_at(c.b, row), plane, g, half % 2u); }
let at = (DEEP * plane + half) * TALL + i / DEEP % TALL;
pool[DEEP * WIDE + at] = v;
staged[at] = u32(dot16(ONES, v));
}
workgroupBarrier();
for (var g = 0u; g < 2u; g++) {
let codes = codes_at(g, x);
let at = DEEP * WIDE + 2u * g * TALL + y;
s0 = with_group(s0, codes, at, two);
s1 = with_group(s1, codes, at + TALL / 4u, two);
s2 = with_group(s2, codes, at + TALL / 2u, two);
s3 = with_group(s3, codes, at + TALL / 4u * 3u, two);
}
}
var sums = array<Sums, 4>(s0, s1, s2, s3);
for (var j = 0u; j < 4u; j++) {
let row = row0 + y + j * (TALL / 4u);
for (var i = 0u; i < 4u; i++) {
let col = col0 + x + 16u * i;
if (row < c.rows_g && col < n) {
let total = joined_groups(sums[j].high[i], sums[j].low[i], shift);
put(row_at(c.g, row) + col, scaled(c, row, col, total, shift));
}
}
}
}
}
const SIDES: u32 = LANES / BLOCK;
struct Block { reference: i32, lift: i32, light: i32 }
var<workgroup> blocks: array<Block, SIDES>;
var<workgroup> weights: array<i32, LANES>;
const NEAR: u32 = 256u;
var<workgroup> query: array<u32, NEAR / 4u>;
var<workgroup> totals: array<i32, NEAR>;
fn query_word(mine: u32, quad: u32) -> u32 {
if (quad < NEAR / 4u) { return query[quad]; }
return scratch[mine + quad];
}
fn total(mine: u32, i: u32) -> i32 {
if (i < NEAR) { return totals[i]; }
return i32(scratch[mine + i]);
}
fn set_total(mine: u32, i: u32, v: i32) {
if (i < NEAR) { totals[i] = v; } else { scratch[mine + i] = u32(v); }
}
fn bytes_of(x: u32) -> vec4<i32> { return vec4<i32>(byte_of(x, 0u), byte_of(x, 1u), byte_of(x, 2u), byte_of(x, 3u)); }
fn round_down(v: u32, s: u32) -> i32 {
if (s > 32u) { return 0; }
return i32(((v >> (s - 1u)) >> 1u) + ((v >> (s - 1u)) & 1u));
}
fn shift_of(n: u32, bits: i32) -> u32 { return u32(max(bit_length(n) - bits, 0)); }
fn attend(c: Call, k: Tensor, v: Tensor, scale: Scale, row: u32, head: u32, start: u32, stop: u32, group: u32, lane: u32) {
let heads = k.e0; let context = k.e1; let width = k.e2;
let quad_count = width / 4u;
let mine = group * (quad_count + width);
let sums_at = mine + quad_count;
let first_row = head / (c.b.cols / width / heads) * context;
let q = row_at(c.b, row) + head * width;
let s = seven_bits(bring_near(q, width, lane), c.b.frac);
let query_scale = multiply_scales(s.scale, scale);
for (var quad = lane; quad < quad_count; quad += LANES) {
var p = Packed(0u, 0u);
for (var i = 0u; i < quad_size(); i++) { p = packed(p, i, quantised(near(q, 4u * quad + i), s), false); }
let bytes = p.low ^ 0x80808080u;
if (quad < NEAR / 4u) { query[quad] = bytes; } else { scratch[mine + quad] = bytes; }
}
for (var i = lane; i < width; i += LANES) { set_total(sums_at, i, 0); }
storageBarrier();
workgroupBarrier();
let n = stop - start;
let fewer = shift_of(n, 10); let lighter = shift_of(n, 16);
let across = min(quad_count, BLOCK);
let slices = BLOCK / across;
let side = lane / BLOCK; let slice = lane % BLOCK / across; let column = lane % BLOCK % across;
var total_e = FAR; var weight = 0; var weight_e = FAR;
for (var first = start; first < stop; first += LANES) {
let token = first + lane;
let inside = token < stop;
var score = LOWEST; var value_scale = Scale(0u, FAR);
if (inside) {
let at = row_at(k, first_row + token);
var sum = 0;
let key_scale = row_scale(k, first_row + token);
value_scale = row_scale(v, first_row + token);
for (var quad = 0u; quad < quad_count; quad += 4u) {
let words = vector(at, quad, quad_count);
sum += dot4I8Packed(query_word(mine, quad), words.x);
if (quad + 1u < quad_count) { sum += dot4I8Packed(query_word(mine, quad + 1u), words.y); }
if (quad + 2u < quad_count) { sum += dot4I8Packed(query_word(mine, quad + 2u), words.z); }
if (quad + 3u < quad_count) { sum += dot4I8Packed(query_word(mine, quad + 3u), words.w); }
}
let m = multiply_scales(query_scale, key_scale);
score = clamp(rescale(sum, m.m, m.e + 16).v, -1073741824, 1073741824);
}
largest_of_blocks(score, value_scale.e, lane);
let block = blocks[side];
var w = 0; var share = 0;
if (inside) {
w = exp2_negative((u32(block.reference) << 16u) - u32(score));
share = round_down(u32(w) * value_scale.m, u32(min(block.lift - value_scale.e + 18, 33)));
}
weights[lane] = share;
sum_of_blocks(w, lighter, lane);
let begin = first + side * BLOCK;
let mine_of_block = min(stop - min(begin, stop), BLOCK);
for (var quad0 = 0u; quad0 < quad_count; quad0 += across) {
var sums = vec4<i32>(0, 0, 0, 0);
let quad = quad0 + column;
if (slice < slices && quad < quad_count) {
let step = v.row_words;
let at = row_at(v, first_row + begin) + quad;
for (var j = slice; j < mine_of_block; j += 4u * slices) {
let last = mine_of_block - 1u;
let j1 = min(j + slices, last); let j2 = min(j + 2u * slices, last); let j3 = min(j + 3u * slices, last);
let x0 = ld(at + j * step); let x1 = ld(at + j1 * step); let x2 = ld(at + j2 * step); let x3 = ld(at + j3 * step);
let w0 = side * BLOCK + j;
sums += weights[w0] * bytes_of(x0 ^ 0x80808080u);
if (j + slices < mine_of_block) { sums += weights[w0 + slices] * bytes_of(x1 ^ 0x80808080u); }
if (j + 2u * slices < mine_of_block) { sums += weights[w0 + 2u * slices] * bytes_of(x2 ^ 0x80808080u); }
if (j + 3u * slices < mine_of_block) { sums += weights[w0 + 3u * slices] * bytes_of(x3 ^ 0x80808080u); }
}
}
pool[lane] = bitcast<vec4<u32>>(sums);
workgroupBarrier();
for (var i = lane; i < min(4u * across, width - 4u * quad0); i += LANES) {
var sum = total(sums_at, 4u * quad0 + i);
var sum_e = total_e;
for (var part = 0u; part < SIDES && first + part * BLOCK < stop; part++) {
var more = 0;
for (var j = 0u; j < slices; j++) { more += i32(pool[part * BLOCK + j * across + i / 4u][i % 4u]); }
let e = blocks[part].reference + blocks[part].lift;
let joined = max(sum_e, e);
sum = shift_down(sum, u32(min(joined - sum_e, 32))) + shift_down(shift_down(more, fewer), u32(min(joined - e, 32)));
sum_e = joined;
}
set_total(sums_at, 4u * quad0 + i, sum);
}
workgroupBarrier();
}
for (var part = 0u; part < SIDES && first + part * BLOCK < stop; part++) {
let b = blocks[part];
total_e = max(total_e, b.reference + b.lift);
let heavier = max(weight_e, b.reference);
weight = shift_down(weight, u32(min(heavier - weight_e, 32))) + shift_down(b.light, u32(min(heavier - b.reference, 32)));
weight_e = heavier;
}
workgroupBarrier();
}
let inverse = reciprocal(vec2<u32>(u32(weight), 0u));
let e = inverse.e + total_e + i32(fewer) + 18 - weight_e - i32(lighter) + c.g.frac;
let target_row = row_at(c.g, row) + head * width;
storageBarrier();
workgroupBarrier();
for (var i = lane; i < width; i += LANES) {
put(target_row + i, rescale(total(sums_at, i), inverse.m, e));
}
storageBarrier();
}
fn op_attentioncausal(c: Call, group: u32, groups: u32, lane: u32) {
let k = parameter_tensor(c, 0u); let v = parameter_tensor(c, 1u);
let heads = c.b.cols / k.e2;
let position = scalar(parameter_tensor(c, 2u));
for (var i = group; i < c.rows_g * heads; i += groups) {
let last = clamp_position(position, i / heads, k.e1);
let tokens = agree(vec2<u32>(0u, last + 1u), lane);
attend(c, k, v, scale_of(parameter(c, 3u)), i / heads, i % heads, tokens.x, tokens.y, group, lane);
}
}
fn op_attentionfull(c: Call, group: u32, groups: u32, lane: u32) {
let k = parameter_tensor(c, 0u); let v = parameter_tensor(c, 1u); let lengths = parameter_tensor(c, 3u);
let heads = c.b.cols / k.e2; let context = k.e1;
let step = u32(clamp(scalar(parameter_tensor(c, 2u)), 1, i32(context)));
let known = lengths.rows * lengths.cols;
for (var i = group; i < c.rows_g * heads; i += groups) {
let part = i / heads / step;
let start = min(part * step, context - 1u);
let wanted = min(u32(max(number_flat(lengths, min(part, known - 1u)), 1)), step);
let tokens = agree(vec2<u32>(start, min(start + wanted, context)), lane);
attend(c, k, v, scale_of(parameter(c, 4u)), i / heads, i % heads, tokens.x, tokens.y, group, lane);
}
}
var<workgroup> bins: array<atomic<u32>, 256>;
var<workgroup> found: atomic<u32>;
fn counted(value: u32) -> u32 { return value ^ 0x80000000u; }
fn ranked(cols: u32, rank: u32, places: bool, bound: u32, lane: u32) -> vec2<u32> {
var part = vec2<u32>(0u, rank);
for (var shift = 32u; shift > 0u; shift -= 8u) {
for (var i = lane; i < 256u; i += LANES) { atomicStore(&bins[i], 0u); }
workgroupBarrier();
for (var i = lane; i < cols; i += LANES) {
let v = ~counted(scratch[i]);
let key = select(v, i, places);
let begins = shift == 32u || key >> (shift & 31u) == part.x;
if (begins && (!places || v == bound)) { atomicAdd(&bins[(key >> (shift - 8u)) & 255u], 1u); }
}
workgroupBarrier();
var rest = part.y; var bin = 0u;
if (lane == 0u) {
while (bin < 255u && atomicLoad(&bins[bin]) < rest) {
rest -= atomicLoad(&bins[bin]);
bin += 1u;
}
}
part = agree(vec2<u32>((part.x << 8u) | bin, rest), lane);
}
return part;
}
fn draw(random: Tensor) -> u32 {
let low = ld(flat_at(random, 0u)); let high = ld(flat_at(random, 1u));
let state = vec2<u32>(low, high);
let mixed = vec2<u32>((low >> 18u) | (high << 14u), high >> 18u) ^ state;
let bits = (mixed.x >> 27u) | (mixed.y << 5u);
let turn = high >> 27u;
let result = (bits >> turn) | (bits << ((32u - turn) & 31u));
var next = multiply_unsigned(low, PCG_LOW);
next.y += low * PCG_HIGH + high * PCG_LOW;
next = pair_add(next, vec2<u32>(PCG_STEP_LOW, PCG_STEP_HIGH));
let start = random.start;
st(start, next.x);
st(start + 1u, next.y);
return result;
}
fn op_sample(c: Call, group: u32, groups: u32, lane: u32) {
if (group != 0u) { return; }
let cols = c.b.cols;
let start = row_at(c.b, 0u);
let settings = agree(vec2<u32>(u32(scalar(parameter_tensor(c, 0u))), u32(max(scalar(parameter_tensor(c, 3u)), 1))), lane);
let warmth = i32(settings.x); let penalty = settings.y;
let plain = warmth <= 0 && penalty == 65536u;
if (!plain) {
for (var i = lane; i < cols; i += LANES) { scratch[i] = ld(start + i); }
storageBarrier();
}
let factor = normalise(penalty, -16);
let inverse = reciprocal(vec2<u32>(penalty, 0u));
let history = parameter_tensor(c, 4u);
for (var i = lane; i < used(history); i += LANES) {
let token = clamp_index(number(history, i, 0u), cols);
if (plain) { continue; }
let x = i32(ld(start + token));
var y = rescale(x, factor.m, factor.e);
if (x > 0) { y = rescale(x, inverse.m, inverse.e + 16); }
scratch[token] = u32(y.v);
}
storageBarrier();
workgroupBarrier();
let target_at = row_at(c.g, 0u);
if (warmth <= 0) {
var top = LOWEST; var at = 0xffffffffu;
for (var i = lane; i < cols; i += 4u * LANES) {
var v = vec4<i32>();
for (var j = 0u; j < 4u; j++) {
let place_of_v = min(i + j * LANES, cols - 1u);
if (plain) { v[j] = i32(ld(start + place_of_v)); } else { v[j] = i32(scratch[place_of_v]); }
}
for (var j = 0u; j < 4u; j++) {
if (v[j] > top || at == 0xffffffffu) { top = v[j]; at = min(i + j * LANES, cols - 1u); }
}
}
let best = largest_of_lanes(top, lane);
let found_at = ~largest_unsigned_of_lanes(~select(0xffffffffu, at, top == best), lane);
if (lane == 0u) { put_word(target_at, i32(found_at)); }
return;
}
let limit = u32(clamp(scalar(parameter_tensor(c, 1u)), 1, i32(min(CANDIDATES, cols))));
let bound = ranked(cols, limit, false, 0u, lane);
let last = ranked(cols, bound.y, true, bound.x, lane).x;
if (lane == 0u) { atomicStore(&found, 0u); }
workgroupBarrier();
for (var i = lane; i < cols; i += LANES) {
let v = ~counted(scratch[i]);
if (v < bound.x || (v == bound.x && i <= last)) { scratch[cols + atomicAdd(&found, 1u)] = i; }
}
storageBarrier();
workgroupBarrier();
for (var i = lane; i < limit; i += LANES) {
let token = scratch[cols + i];
let v = counted(scratch[token]);
var rank = 0u;
for (var j = 0u; j < limit; j++) {
let other_token = scratch[cols + j];
let w = counted(scratch[other_token]);
rank += select(0u, 1u, w > v || (w == v && other_token < token));
}
scratch[cols + CANDIDATES + rank] = token;
}
storageBarrier();
workgroupBarrier();
if (lane != 0u) { return; }
let order = cols + CANDIDATES;
let cold = multiply_scales(reciprocal(vec2<u32>(u32(warmth), 0u)), Scale(LOG2E_M, LOG2E_E));
let best = i32(scratch[scratch[order]]);
var total = 0u;
for (var i = 0u; i < limit; i++) {
let distance = subtract(best, i32(scratch[scratch[order + i]])).v;
total += u32(exp2_negative(u32(rescale(distance, cold.m, cold.e + 32 - c.b.frac).v)));
scratch[cols + i] = total;
}
let share = clamp(scalar(parameter_tensor(c, 2u)), 0, 65536);
let enough = u32(max(shift_round(multiply(i32(total), share), 16).v, 1));
var kept = 0u;
while (scratch[cols + kept] < enough) { kept += 1u; }
let goal = multiply_unsigned(draw(parameter_tensor(c, 5u)), scratch[cols + kept]).y;
var at = 0u;
while (scratch[cols + at] <= goal) { at += 1u; }
put_word(target_at, i32(scratch[order + at]));
}`,entry:`@compute @workgroup_size(LANES)
fn run_$OPERATION(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) n: vec3<u32>,
@builtin(local_invocation_index) lane: u32) {
let c = named(lane);
if (c.rows_g == 0u || c.rows_b == 0u || c.rows_a == 0u) { return; }
op_$OPERATION(call(c), id.x, n.x, lane);
}`,row:`struct Matrix { row: u32, first: u32 }
struct Job {
left_row: u32,
left_first: u32,
right_row: u32,
right_first: u32,
result_row: u32,
result_first: u32,
rows: u32,
inner: u32,
columns: u32,
}
@group(0) @binding(0) var<uniform> job: Job;
@group(0) @binding(1) var<storage, read_write> pixels: array<u32>;
@group(0) @binding(2) var<storage, read_write> totals: array<u32>;
const LANES: u32 = 64u;
fn left() -> Matrix { return Matrix(job.left_row, job.left_first); }
fn right() -> Matrix { return Matrix(job.right_row, job.right_first); }
fn pixel(m: Matrix, index: u32) -> u32 {
let across = WIDTH - m.first;
return (m.row + index / across) * WIDTH + m.first + index % across;
}
fn byte(m: Matrix, index: u32) -> u32 { return pixels[pixel(m, index)] & 255u; }
fn store(index: u32, value: u32) {
let at = pixel(Matrix(job.result_row, job.result_first), index);
pixels[at] = (pixels[at] & 0xffffff00u) | min(value, 255u);
}
fn number(id: vec3<u32>, n: vec3<u32>) -> u32 { return id.x + id.y * n.x * LANES; }
@compute @workgroup_size(LANES)
fn product(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) n: vec3<u32>) {
let i = number(id, n);
if (i >= job.rows * job.columns) { return; }
let row = i / job.columns; let column = i % job.columns;
var sum = 0u;
for (var t = 0u; t < job.inner; t++) {
sum += byte(left(), row * job.inner + t) * byte(right(), t * job.columns + column);
}
totals[i] = sum;
}
@compute @workgroup_size(LANES)
fn margins(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) n: vec3<u32>) {
let i = number(id, n);
if (i >= job.rows + job.columns) { return; }
var sum = 0u;
for (var t = 0u; t < job.inner; t++) {
if (i < job.rows) { sum += byte(left(), i * job.inner + t); }
else { sum += byte(right(), t * job.columns + i - job.rows); }
}
totals[job.rows * job.columns + i] = sum;
}
@compute @workgroup_size(LANES)
fn add(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) n: vec3<u32>) {
let i = number(id, n);
if (i < job.rows * job.columns) { totals[i] = byte(left(), i) + byte(right(), i); }
}
@compute @workgroup_size(LANES)
fn settle(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) n: vec3<u32>) {
let i = number(id, n);
if (i < job.rows * job.columns) { store(i, totals[i]); }
}
var<workgroup> parts: array<u32, LANES>;
@compute @workgroup_size(LANES)
fn dot_product(@builtin(local_invocation_index) lane: u32) {
var sum = 0u;
for (var t = lane; t < job.inner; t += LANES) { sum += byte(left(), t) * byte(right(), t); }
parts[lane] = sum;
workgroupBarrier();
if (lane == 0u) {
var all = 0u;
for (var i = 0u; i < LANES; i++) { all += parts[i]; }
let at = job.result_row * WIDTH;
pixels[at] = (pixels[at] & 0xffff0000u) | (all & 65535u);
}
}
fn part_of_glyph(i: u32) -> u32 { return i / job.inner % job.columns * WIDTH + i % job.inner; }
@compute @workgroup_size(LANES)
fn lift(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) n: vec3<u32>) {
let i = number(id, n);
let size = job.inner * job.columns;
if (i < job.rows * size) { totals[2u * job.rows + i] = pixels[totals[2u * (i / size)] + part_of_glyph(i % size)]; }
}
@compute @workgroup_size(LANES)
fn lay(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) n: vec3<u32>) {
let i = number(id, n);
let size = job.inner * job.columns;
if (i < job.rows * size) { pixels[totals[2u * (i / size) + 1u] + part_of_glyph(i % size)] = totals[2u * job.rows + i]; }
}`},P=N.numbers,F=N.fields,Ue=N.limits,We=N.powers,Ge=N.row;function Ke(e){let t=N.operations[e];if(!t)throw Error(`no shader for opcode ${e}`);return t.slice(3)}function qe(e,t,n,r){let i={$WINDOW:`${e}u`,$WINDOWS:`${t}u`,$GROUPED:`${n}`};return[N.module.replace(/\$[A-Z]+/g,e=>i[e]),...[...r].map(e=>N.entry.replaceAll(`$OPERATION`,e))].join(`
`)}var Je=new Set(N.byRows);function Ye(e){return e.replace(/-(.)/g,(e,t)=>t.toUpperCase())}var I=`WebAssembly goes on`;function L(e){return e.replace(/[\p{C}\s]+/gu,` `).trim()}async function Xe(){if(!globalThis.navigator?.gpu)throw new t(`this page has no WebGPU: expected a browser that has it, at https or localhost; ${I}`);let e=await navigator.gpu.requestAdapter({powerPreference:`high-performance`}).catch(()=>null);if(!e)throw new t(`no GPU here: the browser offers none; ${I}`);for(let[n,r]of Object.entries(Ue)){let i=e.limits[Ye(n)];if(i<r)throw new t(`the GPU has ${n} ${i}; expected at least ${r}; ${I}`)}return e}async function Ze(){return Xe().then(Qe,()=>void 0)}function Qe({info:e}){let{vendor:t,architecture:n,device:r,description:i}=e;return L(i||[t,n,r].filter(Boolean).join(` `))||`GPU`}var $e=class e{device;name;isSoftware;window;pipelines=new Map;lost;most;constructor(e,t){this.device=t,this.name=Qe(e),this.isSoftware=e.info.isFallbackAdapter||/swiftshader|llvmpipe|lavapipe|warp/i.test(this.name),this.most=Math.min(t.limits.maxStorageBufferBindingSize,t.limits.maxBufferSize),this.window=Math.floor(this.most/256)*64,t.lost.then(e=>this.end(`was lost: its driver reset it, or it went away`,e)),t.addEventListener(`uncapturederror`,({error:e})=>this.end(`refuses the program`,e))}itself;static async open(){let n=await Xe(),r={};for(let e of Object.keys(Ue)){let t=Ye(e);r[t]=n.limits[t]}try{return new e(n,await n.requestDevice({requiredLimits:r}))}catch(e){throw new t(`the GPU does not open: ${L(e.message)}; ${I}`)}}static shared(){if(!R){let t=e.open();R=t,t.then(e=>e.itself=t,()=>R=void 0)}return R}end(e,{message:t}){this.lost??=this.failure(e,t),R===this.itself&&(R=void 0)}failure(e,n=``){let r=L(n);return new t(`GPU (${this.name}) ${e}${r?`: ${r}`:``}; ${I}`)}check(){if(this.lost)throw this.lost}async told(e,n){this.check();let{device:r}=this,i=[`validation`,`out-of-memory`,`internal`];for(let e of i)r.pushErrorScope(e);let a,o;try{a=await n()}catch(e){o=e}let s=[];for(let e=0;e<i.length;e++)s.push(await r.popErrorScope().catch(()=>null));this.check();let[c,l,u]=s;if(l)throw this.failure(`has no room for ${e}`);let d=u??c;if(d)throw this.failure(`refuses ${e}`,d.message);if(o instanceof t)throw o;if(o)throw this.failure(`refuses ${e}`,o.message);return a}bytes(e){let t=Math.max(4*e,256);if(t>this.most)throw this.failure(`takes ${M(this.most)} in one piece; the program needs ${M(t)}`);return t}buffer(e,t=GPUBufferUsage.STORAGE){let n=t|GPUBufferUsage.COPY_DST|GPUBufferUsage.COPY_SRC;return this.device.createBuffer({size:this.bytes(e),usage:n})}write(e,t,n){let r=n;this.device.queue.writeBuffer(e,4*t,r)}async read(e,t,n){return n?this.told(`a copy of ${M(4*n)}`,async()=>{let r=GPUBufferUsage.MAP_READ|GPUBufferUsage.COPY_DST,i=this.device.createBuffer({size:4*n,usage:r});try{let r=this.device.createCommandEncoder();return r.copyBufferToBuffer(e,4*t,i,0,4*n),this.device.queue.submit([r.finish()]),await i.mapAsync(GPUMapMode.READ),new Uint32Array(i.getMappedRange().slice(0))}finally{i.destroy()}}):new Uint32Array}async done(){await this.device.queue.onSubmittedWorkDone(),this.check()}},R,et=class{picture;width;height;bytes;constructor(e){this.picture=e;let{width:t,height:n,words:r}=e;[this.width,this.height]=[t,n],this.bytes=new Uint8Array(r.buffer,r.byteOffset,r.byteLength)}at(e,t){return 4*(t*this.width+e)}get(e,t,n=0){return this.bytes[this.at(e,t)+n]??0}word(e,t){return this.picture.words[t*this.width+e]??0}};function z(e){return v.firstColumn[e]}function B(e,t,n){let r=t-z(n);return r>0?Math.max(1,Math.ceil(e/r)):2**32}function tt(e,t,n,r){let i=z(r),a=n-i;return Array.from({length:B(t,n,r)},(n,r)=>{let o=i+Math.min(a,Math.max(0,t-r*a)),s=r?i:0;return{x:s,y:e+r,width:o-s,height:1}}).filter(e=>e.width>0)}function V(e,t){if(!(t>=1&&t<e.height))throw new a(`row ${t} is no data row: ${t===0?`row 0 holds the instructions`:`the image has ${e.height}`}; expected 1..${e.height-1}`)}function nt(e,t){return e.width>1&&!!(e.word(1,t)>>>8)}function rt(e,t){return[e.get(0,t,2)|e.get(0,t,3)<<8,e.get(0,t,0)|e.get(0,t,1)<<8]}function it(e,t){V(e,t);let[n,r]=rt(e,t),i=nt(e,t)?`quantised`:`plain`;return!n||!r||t+B(n*r,e.width,i)>e.height?null:[n,r]}function at(e,t,n,r){let i=z(r),a=new Uint8Array(n),[o,s]=[i,t];for(let t=0;t<n;t++)a[t]=e.get(o,s),++o===e.width&&([o,s]=[i,s+1]);return a}function H(e,t){let n=it(e,t);if(!n){let n=[0,1,2,3].map(n=>e.get(0,t,n)),[r,i]=rt(e,t);throw new a(`row ${t} has no valid matrix header: found ${ce(n)}, that is ${r} x ${i}; expected (cols lo, cols hi, rows lo, rows hi) with elements that fit into the ${e.width} x ${e.height} image`)}let[r,i]=n;if(!nt(e,t)){let n=at(e,t,r*i,`plain`),a=e.width>2?e.word(2,t):0;return{row:t,rows:r,cols:i,encoding:!n.some(Boolean)&&!e.word(1,t)&&!a?`placeholder`:`plain`,data:n,scale:1,offset:0}}let[o=0,s=0]=new Float32Array(new Uint32Array([e.word(1,t),e.width>2?e.word(2,t):0]).buffer);if(!(o>=v.smallestScale&&o<=v.largestFloat&&Math.abs(s)<=v.largestFloat))throw new a(`row ${t} has scale ${x(o)} and offset ${x(s)}; expected a positive normal float32 scale and a finite offset (plain elements have G, B and A zero)`);return{row:t,rows:r,cols:i,encoding:`quantised`,data:at(e,t,r*i,`quantised`),scale:o,offset:s}}function U(e,...t){if(!t.map(t=>it(e,t)).includes(null))return t.map(t=>H(e,t));let n=0;for(;n<e.width&&t.some(t=>e.word(n,t));)n+=1;return t.map(t=>({row:t,rows:1,cols:n,encoding:`headerless`,data:at(e,t,n,`headerless`),scale:1,offset:0}))}function W(e){let t=new Float64Array(e.data.length);for(let n=0;n<t.length;n++)t[n]=(e.data[n]??0)/e.scale+e.offset;return t}function ot(e,t,n,r,i){V(e,t);let o=B(n*r,e.width,i);if(t+o>e.height)throw new a(`a ${i} ${n} x ${r} result at row ${t} needs ${o} rows of ${e.width} pixels; the image ends after row ${e.height-1}`);if(Math.max(n,r)>65535)throw new a(`a result of ${n} x ${r} exceeds the header's 65535`)}function st(e,t){let{row:n,rows:r,cols:i,encoding:a}=t;ot(e,n,r,i,a);let o=e.picture.words,s=n*e.width;a!==`headerless`&&(o[s]=(i|r<<16)>>>0),a===`quantised`?o.set(new Uint32Array(new Float32Array([t.scale,t.offset]).buffer),s+1):a===`plain`&&(o[s+1]=e.get(1,n));let c=z(a),[l,u]=[c,n];for(let n of t.data)e.bytes[e.at(l,u)]=n,++l===e.width&&([l,u]=[c,u+1])}function ct(e){let[t,n]=e.length?[1/0,-1/0]:[0,0];for(let r of e)t=Math.min(t,r),n=Math.max(n,r);if(!(Math.abs(t)<=v.largestFloat&&Math.abs(n)<=v.largestFloat))throw new a(`values ${x(t)}..${x(n)} do not fit into float32`);let r=Math.fround(t)+0,i=new Uint8Array(e.length);if(n===t||255/(n-t)>v.largestFloat)return{data:i,scale:1,offset:r};let o=Math.fround(255/(n-t));return e.forEach((e,t)=>{i[t]=Math.min(Math.max(Math.floor((e-r)*o+.5),0),255)}),{data:i,scale:o,offset:r}}var lt=u(0),ut=10;function dt(e){let t=[];for(let n=0;n<e.width;n++){let r=e.words[n]??0,i=r&255,o=lt.get(i);if(!o)throw new a(ft(n,i));if(t.push(new ie(n,n,0,i,o,[r>>8&255,r>>16&255,r>>>24])),o.flow===`HALT`)break}let n=new et(e);for(let r of t)r.op.operands.forEach((t,i)=>{let o=r.operands[i]??0;if(!(t.names!==`ROW`||o>=1&&o<e.height))try{V(n,o)}catch(e){throw new a(`${r.place}: ${e.message}`)}});return{dialect:0,instructions:t,regions:new pt(n).walk(t)}}function ft(e,t){let n=[...new Set([...lt.values()].map(e=>`${e.glyph} ${e.name}`))].join(`, `),r=`instruction ${e} at x=${e}, y=0: unknown opcode ${t} (${oe(String.fromCharCode(t))})`;return e?`${r}; expected one of ${n}`:`this picture is no pxVM program: ${r}; a program begins with one of ${n}`}var pt=class{p;found=new Map;awaited=new Set;constructor(e){this.p=e}walk(e){for(let t of[e,[...e].reverse(),e]){for(let e of t)this.visit(e);if(!this.awaited.size)break}return[...this.found.values()].sort((e,t)=>e.row-t.row)}visit(e){let[t,n,r]=e.operands;if(e.op.name===`MatMul`){let[e,i]=this.factors(t,n,r);e&&i?this.result(r,e.rows,i.cols,e,i):this.wait(r)}else if(e.op.name===`Add`){let[e,i]=this.vectors(t,n);e&&i?this.result(r,e.rows,e.cols,e,i):this.wait(r)}else e.op.name===`Dot`?(this.vectors(t,n),this.keep({row:r,role:`scalar`,encoding:`16-bit`,rows:1,cols:1,rects:[{x:0,y:r,width:1,height:1}]})):e.op.name===`ReLU`?this.vectors(t):e.op.name===`Blit`&&this.blit(this.matrix(t),n,r)}keep(e){return this.found.get(e.row)||(this.found.set(e.row,e),e)}matrix(e){let t=this.found.get(e);if(t)return t.role===`matrix`?t:null;try{let t=H(this.p,e);return this.place(e,t.rows,t.cols,t.encoding===`placeholder`?`plain`:t.encoding)}catch{return null}}place(e,t,n,r){let{width:i,height:a}=this.p;if(e+B(t*n,i,r)>a)return null;let o=r===`headerless`?`vector`:`matrix`,s=this.keep({row:e,role:o,encoding:r,rows:t,cols:n,rects:tt(e,t*n,i,r)});return s.role===o?s:null}wait(e){!this.found.has(e)&&this.blank(e)&&this.awaited.add(e)}blank(e){let t=e*this.p.width;return!this.p.picture.words.subarray(t,t+this.p.width).some(Boolean)}factors(e,t,n){let[r,i]=[this.matrix(e),this.matrix(t)],a=this.awaited.has(n)?this.found.get(n):void 0;return a&&i&&!r&&this.blank(e)?r=this.place(e,a.rows,i.rows,i.encoding):a&&r&&!i&&this.blank(t)&&(i=this.place(t,r.cols,a.cols,r.encoding)),[r,i]}vectors(...e){let t=e.map(e=>this.found.get(e)??null);if(e.some(e=>this.awaited.has(e)&&!this.found.has(e))){t=e.map(e=>this.matrix(e));let n=t.find(Boolean);return n&&(t=e.map(e=>this.place(e,n.rows,n.cols,n.encoding))),t}if(t.every(e=>e?.role===`matrix`))return t;let n;try{n=U(this.p,...e)}catch{return e.map(()=>null)}return n[0]?.encoding!==`headerless`||t.some(e=>e?.role===`matrix`)?e.map(e=>this.matrix(e)):n.map(e=>this.place(e.row,e.rows,e.cols,`headerless`))}result(e,t,n,...r){let i=r.map(e=>e.encoding),a=[`quantised`,`headerless`].find(e=>i.includes(e))??`plain`,o=this.found.get(e);o&&o.role!==`scalar`||(this.found.delete(e),this.place(e,t,n,a))}blit(e,t,n){let{width:r,height:i}=this.p,[a,o,s]=[0,1,3].map(e=>this.p.get(0,t,e)),c=a?Math.floor((r-1)/a):0;if(!a||!o||c<=0||!e||e.encoding!==`plain`)return;let l=Math.ceil(s/c);if(t+l*o>i)return;let u=Array.from({length:l*o},(e,n)=>({x:Math.min(n,1),y:t+n,width:1+a*c-Math.min(n,1),height:1}));this.keep({row:t,role:`font`,encoding:`glyphs`,rows:l*o,cols:r,rects:u});let d=[];try{d=[...H(this.p,e.row).data]}catch{d=Array.from({length:e.rows*e.cols},()=>0)}let f=Math.max(1,mt(d,Math.max(1,Math.floor(r/a))).length),p=Math.min(f*o,i-n);this.keep({row:n,role:`canvas`,encoding:`pixels`,rows:p,cols:r,rects:[{x:0,y:n,width:r,height:p}]})}};function mt(e,t){let n=[[]];for(let r of e)r===ut?n.push([]):(n[n.length-1]?.length===t&&n.push([]),n[n.length-1]?.push(r));return n}function G(e,t){return e[t>>2]>>>8*(t&3)&255}function ht(e,t){return e[t>>1]<<16*(1-(t&1))>>16}function gt(e){return(e&65535)*2**(e>>16)}function _t(e){return gt(e[e.length-1]|0)}var vt={[d.I8]:(e,t)=>G(e,t)-128,[d.I16]:(e,t,{frac:n})=>ht(e,t)*2**-n,[d.I32]:(e,t,{frac:n})=>(e[t]|0)*2**-n,[d.SCALE]:(e,t)=>gt(e[t]|0),[d.ACT1]:(e,t)=>(G(e,t)-128)*_t(e),[d.ACT2]:(e,t,{cols:n})=>(256*(G(e,n+t)-128)+G(e,t)-128)*_t(e),[d.RGBA]:(e,t)=>e[t],[d.I4]:(e,t,{cols:n})=>{let[r,i]=fe(n),a=Math.floor(t/h.group);return(e[t>>3]>>>8*(t&3)+(t&4)&15)*G(e.subarray(r),a)+ht(e.subarray(r+i),a)}};function yt(e,t){let{rows:n,cols:r,rowWords:i}=t,a=vt[t.dtype],o=new Float64Array(n*r);for(let s=0;s<n;s++){let n=e.subarray(s*i,(s+1)*i);for(let e=0;e<r;e++)o[s*r+e]=a(n,e,t)}return o}function bt(e,t){let r=`tensor ${t.index} (${t.called})`;if(t.dtype!==d.I32&&t.dtype!==d.RGBA)throw new n(`${r}: expected I32 or RGBA to write to; found ${t.dtypeName}`);if(e.length!==t.flat)throw new n(`${r}: expected ${t.flat} values; found ${e.length}`);let[i,a]=t.dtype===d.I32?[-(2**31),2**31]:[0,2**32],o=new Uint32Array(t.flat);for(let s=0;s<t.flat;s++){let c=t.dtype===d.I32?Math.round(e[s]*2**t.frac):e[s];if(!(c>=i&&c<a))throw new n(`${r}: value ${s} is ${e[s]}, which does not fit`);o[s]=c}return o}function xt(e,t,n,r){let{functions:i}=e,a=new TextEncoder().encode(`${n}x${r}\n`),o=e.take(64,`a digest`);return e.bytes(o,a.length).set(a),i.shaBegin(),i.shaUpdate(o,a.length),i.shaUpdate(t,4*n*r),[...e.words(i.shaFinish(),8)].map(e=>e.toString(16).padStart(8,`0`)).join(``)}function St(e,t,n,r){let i=e.take(t.byteLength,`a digest`);return e.words(i,t.length).set(t),xt(e,i,n,r)}var K=65536,Ct=65536*K,wt;function Tt(){return wt??=fetch(new URL(new URL(`machine-DG-FTTTR.wasm`,import.meta.url).href,``+import.meta.url)).then(e=>e.arrayBuffer()).then(e=>WebAssembly.compile(e)),wt}var Et=class e{functions;next;constructor(e,t){let n=new WebAssembly.Instance(e,{host:{...t??{now:()=>0,saving:()=>void 0}}});this.functions=n.exports,this.next=this.functions.heapBase()}static async load(t){return new e(await Tt(),t)}take(e,t){let n=Math.ceil(this.next/64)*64,{memory:r}=this.functions,i=n+e+K-r.buffer.byteLength;if(n+e+K>Ct)throw Dt(t,e);if(i>0)try{r.grow(Math.ceil(i/K))}catch{throw Dt(t,e)}return this.next=n+e,n}bytes(e,t){return new Uint8Array(this.functions.memory.buffer,e>>>0,t)}words(e,t){return new Uint32Array(this.functions.memory.buffer,e>>>0,t)}};function Dt(e,t){return new n(`${e} needs ${M(t)} of memory; found less than that free`)}function Ot(e,t,n){return{dialect:0,title:n,tensors:t.regions.map(e=>({index:e.row,name:`@${e.row}`,dtype:e.encoding,role:e.role,rows:e.rows,cols:e.cols,rects:At(e.rects)})),instructions:kt(t.instructions),memory:2*e.words.byteLength}}function kt(e){let t=0;return e.map(e=>{e.op.flow===`END_LOOP`&&--t;let n={index:e.index,x:e.x,y:e.y,letter:e.op.glyph,name:e.op.name,text:String(e),depth:t};return e.op.flow===`LOOP`&&(t+=1),n})}function At(e){let t=[];for(let n of e){let e=t[t.length-1];e&&e.x===n.x&&e.width===n.width&&e.y+e.height===n.y?e.height+=n.height:t.push({...n})}return t}var jt=1<<24;function*Mt(e,t){let[n,r,i]=t.operands;try{t.op.name===`Dot`?Pt(e,n,r,i):t.op.name===`Add`?Lt(e,n,r,i):t.op.name===`ReLU`?Rt(e,n):t.op.name===`MatMul`?yield*Bt(e,n,r,i):t.op.name===`Blit`&&Wt(e,n,r,i)}catch(e){throw e instanceof a?new o(`${t.place}: ${e.message}`):e}}function q(...e){let t=e.map(e=>e.encoding);return t.includes(`quantised`)?`quantised`:t.includes(`headerless`)?`headerless`:`plain`}function J(e,t,n,r,i,...a){let o=q(...a);o===`quantised`?(ot(e,t,n,r,o),st(e,{row:t,rows:n,cols:r,encoding:o,...ct(i)})):st(e,{row:t,rows:n,cols:r,encoding:o,data:Uint8Array.from(i,e=>Math.trunc(Math.min(Math.max(e,0),255))),scale:1,offset:0})}function Y(e){return`${e.rows} x ${e.cols} at row ${e.row}`}function Nt(e,t,n,r){let[i,o]=U(e,t,n);if(V(e,r),i.data.length!==o.data.length)throw new a(`Dot needs as many elements left as right; found ${Y(i)} and ${Y(o)}`);for(let e of[i,o])if(e.encoding===`quantised`)throw new a(`Dot takes plain vectors; row ${e.row} is quantised: use MatMul`);return[i,o]}function Pt(e,t,n,r){let[i,a]=Nt(e,t,n,r),o=0;i.data.forEach((e,t)=>{o+=e*(a.data[t]??0)});let s=e.at(0,r);e.bytes[s]=o%256,e.bytes[s+1]=Math.floor(o/256)%256}function Ft(e,t,n){let[r,i]=U(e,t,n);if(r.rows!==i.rows||r.cols!==i.cols)throw new a(`Add needs two operands of one shape; found ${Y(r)} and ${Y(i)}`);return[r,i]}function It(e,t){let[n,r]=[W(e),W(t)];for(let e=0;e<n.length;e++)n[e]=(n[e]??0)+(r[e]??0);return n}function Lt(e,t,n,r){let[i,a]=Ft(e,t,n);J(e,r,i.rows,i.cols,It(i,a),i,a)}function Rt(e,t){let[n]=U(e,t);n.encoding===`quantised`&&J(e,t,n.rows,n.cols,W(n).map(e=>Math.max(e,0)),n)}function zt(e,t,n,r){let[i,o]=[H(e,t),H(e,n)];if(i.cols!==o.rows)throw new a(`MatMul needs as many columns left as rows right; found ${Y(i)} and ${Y(o)}`);return ot(e,r,i.rows,o.cols,q(i,o)),[i,o]}function*Bt(e,t,n,r){let[i,a]=zt(e,t,n,r);J(e,r,i.rows,a.cols,yield*Vt(i,a),i,a)}function*Vt(e,t){let[n,r,i]=[e.rows,e.cols,t.cols],[a,o]=[new Float64Array(n),new Float64Array(i)];t.data.forEach((e,t)=>{o[t%i]=(o[t%i]??0)+e});let s=new Float64Array(n*i),c=0;for(let o=0;o<n;o++){let n=s.subarray(o*i,(o+1)*i),l=0;for(let a=0;a<r;a++){let s=e.data[o*r+a]??0;if(l+=s,s)for(let e=0;e<i;e++)n[e]=(n[e]??0)+s*(t.data[a*i+e]??0);c+=i,c>jt&&(c=0,yield)}a[o]=l}return Ht(e,t,s,a,o)}function Ht(e,t,n,r,i){let[a,o,s]=[e.rows,e.cols,t.cols],{scale:c,offset:l}=e,{scale:u,offset:d}=t;for(let e=0;e<a;e++)for(let t=0;t<s;t++){let a=(n[e*s+t]??0)/(c*u);a+=d*(r[e]??0)/c,a+=l*(i[t]??0)/u,n[e*s+t]=a+l*d*o}return n}function Ut(e,t,n,r){let i=H(e,t);if(i.encoding===`quantised`)throw new a(`Blit takes a plain matrix of character codes; row ${t} is quantised`);V(e,n),V(e,r);let[o,s,c,l]=[0,1,2,3].map(t=>e.get(0,n,t)),u=o?Math.floor((e.width-1)/o):0;if(!o||!s||!l||!u||n+Math.ceil(l/u)*s>e.height)throw new a(`row ${n} has no valid font header: found (${o}, ${s}, ${c}, ${l}); expected (glyph width, glyph height, first code, glyphs) with all glyphs inside the image`);let d=mt(i.data,Math.max(1,Math.floor(e.width/o)));if(r+d.length*s>e.height)throw new a(`${d.length} lines of ${s}-pixel glyphs from row ${r} on end below the image's last row ${e.height-1}`);for(let e of d.flat())if(e<c||e-c>=l)throw new a(`the font at row ${n} has codes ${c}..${c+l-1}; the text holds ${e}`);let f=[];return d.forEach((t,i)=>{t.forEach((t,a)=>{let[l,d]=[Math.floor((t-c)/u),(t-c)%u];f.push([(n+l*s)*e.width+1+d*o,(r+i*s)*e.width+a*o])})}),{width:o,height:s,places:f}}function Wt(e,t,n,r){let{width:i,height:a,places:o}=Ut(e,t,n,r),s=e.picture.words.slice();for(let[t,n]of o)for(let r=0;r<a;r++){let a=t+r*e.width;e.picture.words.set(s.subarray(a,a+i),n+r*e.width)}}var Gt=class e{module;info;program;pixels;breaks=new Set;going=null;steps=0;failed;constructor(e,t,n){this.module=e,this.program=dt(t),this.info=Ot(t,this.program,n),this.pixels=new et({...t,words:t.words.slice()})}static async make(t,n){return new e(await Tt(),t,n)}get width(){return this.pixels.width}get height(){return this.pixels.height}words(){return this.pixels.picture.words}get next(){let e=this.program.instructions[this.steps];return e&&e.op.flow!==`HALT`?e:void 0}get error(){return this.failed}performed(e){e===void 0?this.steps+=1:this.failed=e}place(){return{status:this.failed?`failed`:this.next?`ready`:`halted`,counter:Math.min(this.steps,this.program.instructions.length-1),steps:this.steps}}advance(e,t,n){let r=0,i=e??1024;for(let e=this.next;e&&r<i;e=this.next){if((r||n)&&!this.going&&this.breaks.has(this.steps))return{made:r,ended:`breakpoint`};this.going??=Mt(this.pixels,e);try{for(;!this.going.next().done;)if(performance.now()>t)return{made:r,ended:`time`}}catch(e){if(this.going=null,!(e instanceof o))throw e;return this.failed=e.message,{made:r,ended:`stopped`,error:e.message}}if(this.going=null,this.steps+=1,r+=1,performance.now()>t)return{made:r,ended:`time`}}return{made:r,ended:`stopped`}}setBreakpoints(e){this.breaks.clear();for(let t of e)this.breaks.add(t)}keep(){let e=this.words().slice(),t=this.steps;return{bytes:e.byteLength,restore:()=>{this.words().set(e),[this.steps,this.going,this.failed]=[t,null,void 0]},changed:()=>Kt(e,this.words(),this.width)}}forget(){this.going=null}region(e){let t=this.program.regions.find(t=>t.row===e);if(!t)throw new a(`expected the row of a matrix; found ${e}`);return t}read(e){let{role:t,rows:n,cols:r}=this.region(e),i=this.pixels;if(t===`scalar`)return new Float64Array([i.get(0,e)|i.get(0,e,1)<<8]);if(t===`vector`)return Float64Array.from({length:r},(t,n)=>i.get(n,e));if(t===`matrix`){try{let t=H(i,e);if(t.rows===n&&t.cols===r)return W(t)}catch{}return new Float64Array(n*r)}return Float64Array.from({length:n*i.width},(t,n)=>{let r=4*(e*i.width+n);return(i.bytes[r]??0)+(i.bytes[r+1]??0)+(i.bytes[r+2]??0)})}write(e,t){let{role:r}=this.region(e);if(r!==`matrix`&&r!==`vector`)throw new n(`row ${e}: expected a matrix to write to; found a ${r}`);let i=r===`matrix`?H(this.pixels,e):U(this.pixels,e)[0];if(!i||t.length!==i.data.length)throw new n(`row ${e}: expected ${i?.data.length??0} values; found ${t.length}`);let a=Array.from(t,e=>Math.round((e-i.offset)*i.scale)),o=a.findIndex(e=>!(e>=0&&e<=255));if(o>=0)throw new n(`row ${e}: value ${o} is ${t[o]}, which does not fit`);let s=z(i.encoding),[c,l]=[s,e];for(let e of a)this.pixels.bytes[this.pixels.at(c,l)]=e,++c===this.width&&([c,l]=[s,l+1])}sha256(){return St(new Et(this.module),this.words(),this.width,this.height)}};function Kt(e,t,n){let r=[];for(let i=0;i*n<t.length;i++){let a=i*n,o=0;for(;o<n&&e[a+o]===t[a+o];)o++;if(o===n)continue;let s=n-1;for(;e[a+s]===t[a+s];)s--;r.push({x:o,y:i,width:s-o+1,height:1})}return r}var qt=64;function Jt(e,t,n){let r=n-Math.floor(e.start/t),i=e.rowWords;if(e.per){let a=Math.min(e.per,e.rows-r*e.per)*i;return{x:e.start%t,y:n,word:r*e.per*i,count:a}}let a=Math.ceil(i/t),o=r%a*t;return{x:0,y:n,word:Math.floor(r/a)*i+o,count:Math.min(t,i-o)}}function*Yt(e,t,n=0,r=1/0){let i=Math.floor(e.start/t),a=Math.min(i+e.imageRows(t),r);for(let r=Math.max(i,n);r<a;r++)yield Jt(e,t,r)}function Xt(e,t,n,r){let i=[];for(let{x:a,y:o,word:s,count:c}of Yt(e,t)){let e=0;for(;e<c&&n[s+e]===r[s+e];)e+=1;if(e===c)continue;let t=c-1;for(;n[s+t]===r[s+t];)--t;let l={x:a+e,y:o,width:t-e+1,height:1},u=i.at(-1);u?.x===l.x&&u.width===l.width&&u.y+u.height===o?u.height+=1:i.push(l)}return i.length>qt?[Zt(i)]:i}function Zt(e){let[t,n,r,i]=[1/0,1/0,0,0];for(let{x:a,y:o,width:s,height:c}of e)t=Math.min(t,a),n=Math.min(n,o),r=Math.max(r,a+s),i=Math.max(i,o+c);return{x:t,y:n,width:r-t,height:i-n}}function Qt(e,t){return e.x<t.x+t.width&&t.x<e.x+e.width&&e.y<t.y+t.height&&t.y<e.y+e.height}function $t(e,t,n,r,i){for(let{x:a,y:o,word:s,count:c}of Yt(n,r,e.y,e.y+e.height)){let n=Math.max(a,e.x),r=Math.min(a+c,e.x+e.width);if(n>=r)continue;let l=i.subarray(s+n-a,s+r-a);t.set(l,(o-e.y)*e.width+n-e.x)}}function en(e,t,r){let{x:i,y:a,width:o,height:s}=r;if(i<0||a<0||i+o>t||(a+s)*t>e.length)throw new n(`pixels (${i}, ${a}) and ${o} x ${s} on are not inside the picture`);let c=new Uint32Array(o*s);for(let n=0;n<s;n++){let r=(a+n)*t+i;c.set(e.subarray(r,r+o),n*o)}return c}var tn=class{program;executor;encode;stopping=!1;closing=!1;last=Promise.resolve();closed=!1;constructor(e,t,n){this.program=e,this.executor=t,this.encode=n}run(e={}){return this.moving(()=>this.execute(e))}step(e=1){return this.moving(async()=>e>0?this.execute({maxSteps:e}):this.standing())}back(e=1){return this.moving(()=>this.goBack(e))}stop(){this.stopping=!0}read(e){return this.alone(()=>this.values(e))}write(e,t){return this.alone(()=>this.put(e,t))}words(e){return this.alone(()=>this.part(e))}picture(){return this.alone(()=>this.pixels())}async save(){return this.encode(await this.picture())}async sha256(){let{width:e,height:t,words:n}=await this.picture(),r=new TextEncoder().encode(`${e}x${t}\n`),i=new Uint8Array(r.length+n.byteLength);i.set(r),i.set(new Uint8Array(n.buffer,n.byteOffset,n.byteLength),r.length);let a=new Uint8Array(await crypto.subtle.digest(`SHA-256`,i));return Array.from(a,e=>e.toString(16).padStart(2,`0`)).join(``)}close(){return this.stopping=this.closing=!0,this.alone(async()=>{this.closed=!0,this.release()})}moving(e){return this.alone(()=>(this.stopping=this.closing,e()))}alone(e){let t=this.last.then(()=>{if(this.closed)throw new n(`this program was closed: open its file again`);return e()});return this.last=t.catch(()=>void 0),t}},nn=[`product`,`margins`,`add`,`settle`,`dot_product`,`lift`,`lay`],rn=64,an=1<<28,on=class e extends tn{gpu;texts;core;buffer;job;pipelines;points=[];totals;constructor(e,t,n,r,i,a,o,s){super(t,e.name,s),this.gpu=e,this.texts=n,this.core=r,this.buffer=i,this.job=a,this.pipelines=o}static async start(t,{picture:n,name:r},i,a){let o=await Gt.make(n,r),[s,c]=await t.told(`the picture`,()=>[t.buffer(n.words.length),t.buffer(rn,GPUBufferUsage.UNIFORM)]),l=`const WIDTH: u32 = ${n.width}u;\n${Ge}`,u=await t.told(`the shaders of dialect 0`,()=>{let e=t.device.createShaderModule({code:l}),n=t.device.createPipelineLayout({bindGroupLayouts:[cn(t)]});return Promise.all(sn(o).map(async r=>{let i={module:e,entryPoint:r};return[r,await t.device.createComputePipelineAsync({layout:n,compute:i})]}))}),d=new e(t,i,n.texts,o,s,c,new Map(u),a);return d.upload(0,o.height),d}async execute(e){let t=this.keep(),n=await this.go(e.maxSteps??1024,e);return this.standing(t.changed(),n)}standing(e=[],t=!1){let{error:n,...r}={error:this.core.error,...this.core.place()},i=t&&r.status===`ready`?`paused`:r.status;return{...r,status:i,changed:e,...n!==void 0&&{error:n}}}async go(e,{breakpoints:t=[],until:n,watch:r=[]}){let{core:i}=this,a=new Set(n===void 0?t:[...t,n]),o=()=>r.map(e=>en(i.words(),i.width,e)),s=o();for(let t=0;t<e&&i.next&&!i.error;t++)if(this.stopping||t&&a.has(i.place().counter)||(await this.perform(i.next),o().some((e,t)=>e.some((e,n)=>e!==s[t][n]))))return!0;return!1}keep(){let{steps:e}=this.core.place(),t=this.core.keep();for(this.points.at(-1)?.steps===e&&this.points.pop(),this.points.push({steps:e,undo:t});this.points.length>1&&this.points.length*t.bytes>an;)this.points.shift();return t}async goBack(e){let t=Math.max(this.core.place().steps-e,this.points[0]?.steps??0),n=this.core.keep();for(;this.points.length>1&&this.points.at(-1).steps>t;)this.points.pop();return this.points.at(-1)?.undo.restore(),this.upload(0,this.core.height),await this.go(t-this.core.place().steps,{}),this.standing(n.changed())}async values(e){return this.core.read(e)}async put(e,t){this.core.write(e,t),this.upload(0,this.core.height),this.keep()}async part(e){return en(this.core.words(),this.core.width,e)}async pixels(){let{width:e,height:t}=this.core;return{width:e,height:t,words:this.core.words().slice(),texts:this.texts}}release(){for(let e of[this.buffer,this.job,this.totals])e?.destroy()}async perform(e){try{await this.compute(e),this.core.performed()}catch(t){if(!(t instanceof n)||this.gpu.lost)throw t;let r=t instanceof a?`${e.place}: `:``;this.core.performed(`${r}${t.message}`)}}async compute(e){let t=this.core.pixels,[n,r,i]=e.operands;switch(e.op.name){case`MatMul`:return this.matmul(...zt(t,n,r,i),i);case`Dot`:{let[e,a]=Nt(t,n,r,i);return this.begin(e,a,X(i,1,1,`headerless`)),this.dispatch(`dot_product`,1),this.fetch(i,i+1)}case`Add`:return this.add(...Ft(t,n,r),i);case`Blit`:return this.blit(Ut(t,n,r,i));default:for(let n of Mt(t,e))this.gpu.check();this.upload(0,this.core.height)}}async matmul(e,t,n){let r=q(e,t),i=X(n,e.rows,t.cols,r);if(r!==`quantised`)return this.stored(`product`,e,t,i);let a=i.rows*i.cols,o=i.rows+i.cols;this.begin(e,t,i,a+o),this.dispatch(`product`,a),this.dispatch(`margins`,o);let s=await this.gpu.read(this.totals,0,a+o),c=s.subarray(a,a+i.rows),l=Ht(e,t,Float64Array.from(s.subarray(0,a)),c,s.subarray(a+i.rows));J(this.core.pixels,n,i.rows,i.cols,l,e,t),this.upload(...this.rowsOf(i))}async add(e,t,n){let r=q(e,t),i=X(n,e.rows,e.cols,r);if(r!==`quantised`)return this.stored(`add`,e,t,i);J(this.core.pixels,n,i.rows,i.cols,It(e,t),e,t),this.upload(...this.rowsOf(i))}async stored(e,t,n,r){let i=r.rows*r.cols;if(st(this.core.pixels,{...r,data:new Uint8Array(i)}),this.begin(t,n,r,i),this.dispatch(e,i),r.encoding!==`headerless`){let e=r.row*this.core.width,t=this.core.words().slice(e,e+Math.min(2,this.core.width));this.gpu.write(this.buffer,e,t)}this.dispatch(`settle`,i),await this.fetch(...this.rowsOf(r))}async blit({width:e,height:t,places:n}){if(!n.length)return;let r=n.length,i=e*t,a=X(0,r,t,`headerless`);this.begin(a,a,a,r*(2+i),e),this.gpu.write(this.totals,0,Uint32Array.from(n.flat())),this.dispatch(`lift`,r*i),this.dispatch(`lay`,r*i);let o=n.map(([,e])=>Math.floor(e/this.core.width));await this.fetch(o[0],o.at(-1)+t)}rowsOf({row:e,rows:t,cols:n,encoding:r}){return[e,e+B(t*n,this.core.width,r)]}begin(e,t,n,r=1,i=e.cols){this.totals?.destroy(),this.totals=this.gpu.buffer(r);let a=[e,t,n].flatMap(e=>[e.row,z(e.encoding)]);this.gpu.write(this.job,0,Uint32Array.from([...a,n.rows,i,n.cols]))}dispatch(e,t){let{device:n}=this.gpu,r=n.createBindGroup({layout:cn(this.gpu),entries:[this.job,this.buffer,this.totals].map((e,t)=>({binding:t,resource:{buffer:e}}))}),i=Math.ceil(t/P.ROW_LANES),a=n.createCommandEncoder(),o=a.beginComputePass();o.setPipeline(this.pipelines.get(e)),o.setBindGroup(0,r),o.dispatchWorkgroups(Math.min(i,P.ROW_GROUPS),Math.ceil(i/P.ROW_GROUPS)),o.end(),n.queue.submit([a.finish()])}upload(e,t){let{width:n}=this.core;this.gpu.write(this.buffer,e*n,this.core.words().subarray(e*n,t*n))}async fetch(e,t){let{width:n}=this.core,r=await this.gpu.read(this.buffer,e*n,(t-e)*n);this.core.words().set(r,e*n)}};function X(e,t,n,r){return{row:e,rows:t,cols:n,encoding:r,data:new Uint8Array,scale:1,offset:0}}function sn(e){let t={MatMul:[`product`,`margins`,`settle`],Add:[`add`,`settle`],Dot:[`dot_product`],Blit:[`lift`,`lay`]},n=new Set(e.info.instructions.flatMap(({name:e})=>t[e]??[]));return nn.filter(e=>n.has(e))}function cn({device:e}){return e.createBindGroupLayout({entries:[`uniform`,`storage`,`storage`].map((e,t)=>({binding:t,visibility:GPUShaderStage.COMPUTE,buffer:{type:e}}))})}function ln(e,t,n){let r={tensors:[],linked:{},numbers:{},named:[],written:new Set};return t.op.operands.forEach((i,a)=>{if(i.names!==`TENSOR`&&i.names!==`BLOCK`)return;let o=C(t.operands[a],n),s=e.descriptors[o];r.named.push(o),i.names===`TENSOR`?(r.tensors.push(s),i.writes&&r.written.add(o)):t.op.parameters.forEach((t,n)=>{let i=s.parameters[n];t.mode.names===`TENSOR`?(r.linked[t.name]=e.descriptors[i],t.mode.writes&&r.written.add(i)):r.numbers[t.name]=i})}),r}function Z(e,t){return Math.ceil(e/t)}function Q(e){return Z(e,P.LANES)}function un(e){let t=e+Math.floor(e/4);return Math.max(Math.min(Math.floor(P.SCRATCH/t),P.MOST_QUERIES),1)}function dn(e,t){return e<=P.FEW?Math.min(Z(t,P.FEW_COLUMNS),P.MOST_OF_FEW):Z(e,Math.floor(P.LANES/4))*Z(t,P.WIDE)}function fn(e,{tensors:t,linked:n},r){if(!t.every(r))return 0;let[i,a]=t;if(Je.has(e))return r(i);switch(e){case`Sample`:return 1;case`Append`:return r(a)*i.extents[0];case`AttentionCausal`:case`AttentionFull`:{let e=n.k.cols;return Math.min(r(i)*Math.floor(i.cols/e),un(e))}case`Linear`:return dn(r(i),i.cols);case`Copy`:case`Transpose`:return Q(a.rows*a.cols);case`Blit`:{let e=t[2].extents;return Q(a.rows*a.cols*e[1]*e[2])}case`Push`:case`Concat`:return Q(r(a)*a.cols);default:return Q(r(i)*i.cols)}}function pn(e){let t=64;for(let[n,r]of e.visits){let i=e.instructions[n],{name:a}=i.op;if(a!==`Sample`&&!a.startsWith(`Attention`))continue;let{tensors:o,linked:s}=ln(e,i,r);if(a===`Sample`)t=Math.max(t,o[1].cols+2*P.CANDIDATES);else{let e=s.k.cols;t=Math.max(t,un(e)*(e+Math.floor(e/4)))}}return t}function $(e){return Z(e.rows*e.cols,P.LANES*P.MOST_GROUPS)}function mn({tensors:e,linked:t}){let n=e[0],r=t.k,i=Math.floor(r.cols/4),a=Math.min(i,P.BLOCK),o=Math.floor(P.BLOCK/a),s=Z(4*a,P.LANES)*(o+1),c=Z(i,4)+Z(i,a)*(Z(P.BLOCK,4*o)+s)+P.REDUCTION,l=n.rows*Math.floor(n.cols/r.cols);return Z(l,Math.min(l,un(r.cols)))*Z(r.extents[1],P.LANES)*c}function hn({tensors:e,numbers:t}){return $(e[0])*t.size**2}var gn={TopK:({tensors:[e,t]})=>e.cols*(Z(t.cols,P.LANES)+Math.floor(P.REDUCTION/2)),AttentionCausal:mn,AttentionFull:mn,Sample:({tensors:e})=>12*Z(e[1].cols,P.LANES)+P.CANDIDATES*(Math.floor(P.CANDIDATES/P.LANES)+4),MatMul:({tensors:[e,t]})=>$(e)*Z(t.cols,4),Conv2D:({tensors:[e],linked:t,numbers:n})=>$(e)*(t.weight.cols+n.size*(n.size+1)),MaxPool:hn,AvgPool:hn,MeanPool:({tensors:[e,t]})=>$(e)*t.rows};function _n(e,n){for(let[r,i]of e.visits){let a=e.instructions[r],{name:o}=a.op,s=gn[o]?.(ln(e,a,i))??0;if(s>P.MOST_ROUNDS)throw new t(`GPU (${n}): instruction ${r} (${o}): expected at most ${P.MOST_ROUNDS.toLocaleString(`en`)} rounds of a loop, which is what a device played by a processor makes; found ${s.toLocaleString(`en`)}; ${I}`)}}var vn=8,yn=256<<20,bn=256,xn=class{gpu;picture;points=[];written=[];words;constructor(e,t){this.gpu=e,this.picture=t,this.words=t.layout.constants-P.FRONT}async keep(e,t){let n=this.points.at(-1);if(n&&e-n.steps<bn)return;for(;this.points.length>1&&this.points.length>=Math.min(vn,yn/(4*this.words+1));)this.thin();let r=await this.gpu.told(`a point to step back to`,()=>this.gpu.buffer(this.words)).catch(()=>void 0);r&&(this.copy(this.picture.changing,P.FRONT,r,0),this.points.push({steps:e,state:t.slice(),tensors:r}))}note(e,t,n){this.written.push({steps:e,tensor:t,words:n})}restore(e,t){if(!this.points.some(t=>t.steps<=e))throw new n(`expected room on the GPU for a point to step back to; found none`);for(;this.points.at(-1).steps>e;)this.points.pop().tensors.destroy();this.written=this.written.filter(t=>t.steps<=e);let r=this.points.at(-1);return t.set(r.state),this.copy(r.tensors,0,this.picture.changing,P.FRONT),this.picture.forget(),r.steps}since(e){return this.written.filter(t=>t.steps>=e)}clear(){this.close(),this.points=[],this.written=[]}copy(e,t,n,r){if(!this.words)return;let i=this.gpu.device.createCommandEncoder();i.copyBufferToBuffer(e,4*t,n,4*r,4*this.words),this.gpu.device.queue.submit([i.finish()])}thin(){let[e,t]=[1,1/0];for(let n=1;n<this.points.length;n++){let r=(this.points[n+1]?.steps??1/0)-this.points[n-1].steps;r<t&&([e,t]=[n,r])}this.points.splice(e,1)[0].tensors.destroy()}close(){for(let e of this.points)e.tensors.destroy()}},Sn=1<<22;function Cn(e,t,n,r){let i=n.per||1;for(let a=0;a<n.rows;a+=i){let o=r.subarray(a*n.rowWords,Math.min(a+i,n.rows)*n.rowWords);e.set(o,n.rowStart(a,t))}}function wn(e){return e.dtype!==d.PARAMS&&e.dtype!==d.I8&&e.dtype!==d.I4}function Tn(e){let t=new Map,n=e.descriptors.filter(wn).map(e=>({d:e,constant:+(e.role===f.CONSTANT),count:e.rows*e.rowWords}));n.sort((e,t)=>e.constant-t.constant||e.count-t.count||e.d.index-t.d.index);let r={places:t,total:P.FRONT,constants:P.FRONT,near:P.FRONT};for(let{d:e,constant:i,count:a}of n)t.set(e.index,{first:r.total,count:a}),r.total+=a,i||(r.constants=r.total,r.total<=P.NEAR&&(r.near=r.total));return r}function En(e,{places:t}){let n=F.length,r=new Int32Array(P.TABLE+n*e.descriptors.length);r.set(We);let i=e=>e===null?-1:t.get(e).first;for(let a of e.descriptors){let o=P.TABLE+n*a.index;if(a.dtype===d.PARAMS){r.set(a.parameters.map(e=>e|0),o),r[o+F.indexOf(`DTYPE`)]=a.dtype;continue}let s=t.get(a.index),c={START:s?s.first:a.start,ROW_WORDS:a.rowWords,ROWS:a.rows,COLS:a.cols,FRAC:a.frac,SCALE:i(a.scale),BIAS:i(a.bias),PER:s?1:Math.max(a.per,1),STRIDE:s?a.rowWords:a.per?e.width:Math.ceil(a.rowWords/e.width)*e.width,DTYPE:a.dtype,LENGTH:i(a.length)};[0,1,2,3].forEach(e=>c[`E${e}`]=a.extents[e]??1),F.forEach((e,t)=>r[o+t]=c[e]|0)}return r}var Dn=class{gpu;opened;program;layout;loose;cleared;tensors;changing;images=[];windows;known=new Map;changed=new Set;constructor(e,t,n,r){this.gpu=e,this.opened=t,this.program=n,this.layout=r;let i=t.words.length;if(i>P.WINDOWS*e.window)throw e.failure(`takes pictures of ${P.WINDOWS*e.window} pixels; found ${i}`);this.windows=Math.max(Math.ceil(i/e.window),1),this.loose=n.descriptors.filter(e=>wn(e)&&e.role!==f.CONSTANT),this.cleared=n.descriptors.filter(e=>e.role===f.SCRATCH&&e.dtype!==d.PARAMS)}async upload(e){let{gpu:t,layout:n,opened:r}=this,i=r.words,a=Array.from({length:P.WINDOWS},(e,n)=>Math.min(Math.max(i.length-n*t.window,0),t.window)),o=En(this.program,n);await t.told(`the picture`,()=>{this.changing=t.buffer(n.total),this.tensors=t.buffer(o.length),this.images=a.map(e=>t.buffer(e))}),t.write(this.tensors,0,o);for(let[n,r]of a.entries()){let a=n*t.window;for(let o=0;o<r;o+=Sn){let s=Math.min(o+Sn,r);t.write(this.images[n],o,i.subarray(a+o,a+s)),await t.done(),e?.(a+s,i.length)}}for(let[e,{first:r}]of n.places)t.write(this.changing,r,this.original(e));await t.done()}original(e){let t=this.program.descriptors[e];return _e(this.opened,t,0,t.rows)}written(e){this.changed.add(e),this.known.delete(e)}copied(e,t){let n=this.scalar(t);[e,t].every(e=>e.flat===1&&e.length===null)&&n!==void 0&&this.known.set(e.index,Uint32Array.of(n))}forget(){for(let e of this.changed)this.known.delete(e)}seen(){let[e,t]=[new Map(this.known),new Set(this.changed)];return n=>e.get(n)??(t.has(n)?void 0:this.original(n))}get changedTensors(){return this.changed}at(e){let t=this.known.get(e);if(t||this.changed.has(e))return t;let n=this.original(e);return n.length<=P.NEAR&&this.known.set(e,n),n}scalar(e){let t=this.known.get(e.index);return t?t[0]|0:this.changed.has(e.index)?void 0:this.opened.words[e.start]|0}async words(e){let t=new Map,n=[];for(let r of e){let e=this.at(r);e?t.set(r,e):n.push({index:r,...this.layout.places.get(r)})}for(n.sort((e,t)=>e.first-t.first);n.length;){let e=n[0].first,r=e,i=0;for(let{first:e,count:t}of n){if(i&&e-r>P.GAP)break;i+=1,r=e+t}let a=await this.gpu.read(this.changing,e,r-e);for(let{index:r,first:o,count:s}of n.splice(0,i)){let n=a.slice(o-e,o-e+s);this.known.set(r,n),t.set(r,n)}}return t}put(e,t){let n=this.layout.places.get(e),r=this.program.descriptors[e];if(!n||!r||r.role===f.CONSTANT)throw new a(`${r?.called??e}: expected a tensor that may change; found a constant`);this.gpu.write(this.changing,n.first,t),this.changed.add(e),this.known.set(e,t)}async catchUp(){let e=await this.gpu.read(this.changing,0,this.layout.near);for(let t of this.changed){let{first:n,count:r}=this.layout.places.get(t);n+r<=this.layout.near&&this.known.set(t,e.slice(n,n+r))}return e.subarray(0,P.FRONT)}close(){for(let e of[this.tensors,this.changing,...this.images])e?.destroy();this.known.clear()}},On=15,kn=45,An=12;function jn(){return new Promise(e=>setTimeout(e))}var Mn=class{gpu;program;picture;state=new Int32Array(P.STATE_WORDS);wrote=new Set;pipelines=new Map;operands=new Map;calls=new Uint32Array(P.ALIGNED*P.CALLS);waiting=[];most=16;flight;scratch;uniform;group;constructor(e,t,n){this.gpu=e,this.program=t,this.picture=n}async prepare(e){let{gpu:t,picture:n}=this,r=await t.told(`its bindings`,()=>{this.scratch=t.buffer(pn(this.program)),this.uniform=t.buffer(P.ALIGNED*P.CALLS,GPUBufferUsage.UNIFORM);let e=t.device.createBindGroupLayout({entries:Pn()}),r=[this.uniform,n.tensors,n.changing,this.scratch];return this.group=t.device.createBindGroup({layout:e,entries:[...r,...n.images].map((e,t)=>({binding:t,resource:t?{buffer:e}:{buffer:e,size:16}}))}),t.device.createPipelineLayout({bindGroupLayouts:[e]})}),i=this.operations(),a=0;e?.(a,i.length),await Promise.all(i.map(async t=>{this.pipelines.set(t,await this.pipeline(t,r)),e?.(++a,i.length)}))}operations(){let e=new Set;for(let[t]of this.program.visits){let{op:n}=this.program.instructions[t];n.flow===`NEXT`&&(e.add(Ke(n.code)),n.name===`Push`&&e.add(`push_length`))}return this.picture.cleared.length&&e.add(`clear`),[...e]}pipeline(e,t){let{gpu:n,picture:r}=this,i=this.program.descriptors.some(e=>e.dtype===d.I4),a=`${e} ${r.windows} ${i}`,o=n.pipelines.get(a);if(!o){let s=qe(n.window,r.windows,i,[e]);o=n.told(`the shader of ${e}`,()=>n.device.createComputePipelineAsync({layout:t,compute:{module:n.device.createShaderModule({code:s}),entryPoint:`run_${e}`}})),o.catch(()=>n.pipelines.delete(a)),n.pipelines.set(a,o)}return o}async run(e){let t=this.state;t[p.STATUS]===_.yielded&&(t[p.STATUS]=_.ready),this.gpu.write(this.picture.changing,0,new Uint32Array(P.STATE_WORDS));let n=0,r=performance.now();for(;t[p.STATUS]===_.ready&&n<e.maxSteps&&!e.stopped()&&!(n&&e.before?.(t[p.PC]));){let i=this.program.instructions[t[p.PC]];t[p.STEPS]=t[p.STEPS]+1&2147483647,t[p.PC]+=1;let a=Nn;if(i.op.flow===`NEXT`?a=this.compute(i):await this.control(i),n+=1,this.waiting.length>=this.most&&await this.flush(),e.after&&a.size&&await e.after(a))break;performance.now()-r>An&&(await jn(),this.gpu.check(),r=performance.now())}await this.flush();let i=await this.picture.catchUp();for(let e of[p.SATURATED,p.CLAMPED])i[e]&&(t[e]=1);return n}compute(e){let t=this.operandsOf(e),{named:n,written:r}=t,i=n[0],a=[i,n[1]??i,n[2]??i],o=fn(e.op.name,t,e=>this.rows(e));this.dispatch(Ke(e.op.code),a,o);for(let e of r)this.mark(e);return e.op.name===`Copy`&&this.picture.copied(t.tensors[0],t.tensors[1]),e.op.name===`Push`&&this.dispatch(`push_length`,a,1),r}operandsOf(e){let t=this.state[p.BASE],n=e.index*65536+t,r=this.operands.get(n);return r||(r=ln(this.program,e,t),this.operands.set(n,r)),r}mark(e){this.picture.written(e),this.wrote.add(e)}rows(e){if(e.length===null)return e.rows;let t=this.picture.scalar(this.program.descriptors[e.length]);return t===void 0?e.rows:Math.min(Math.max(t,0),e.rows)}async value(e){let t=this.program.descriptors[C(e,this.state[p.BASE])],n=this.picture.scalar(t);return n===void 0?(await this.flush(),(await this.picture.words([t.index])).get(t.index)[0]|0):n}async control({op:e,operands:t,index:n}){let r=this.state,[i,a,o]=t;switch(e.flow){case`HALT`:--r[p.PC],r[p.STATUS]=_.halted,this.clear();break;case`YIELD`:r[p.STATUS]=_.yielded,this.clear();break;case`LOOP`:{let e=Math.min(Math.max(await this.value(i),0),g.count);if(!e){r[p.PC]=this.program.match.get(n)+1;break}let t=p.LOOP_STACK+4*r[p.LOOPS];r.set([r[p.PC],e,o,r[p.BASE]],t),r[p.LOOPS]+=1;break}case`END_LOOP`:{let e=p.LOOP_STACK+4*(r[p.LOOPS]-1);if(--r[e+1],r[e+1]){r[p.PC]=r[e],r[p.BASE]+=r[e+2];break}r[p.BASE]=r[e+3],r.fill(0,e,e+4),--r[p.LOOPS];break}case`CALL`:{let e=p.CALL_STACK+2*r[p.CALLS];r.set([r[p.PC],r[p.BASE]],e),r[p.CALLS]+=1,r[p.PC]=i|a<<8,r[p.BASE]+=o;break}case`RETURN`:{let e=p.CALL_STACK+2*(r[p.CALLS]-1);r[p.PC]=r[e],r[p.BASE]=r[e+1],r.fill(0,e,e+2),--r[p.CALLS];break}case`SKIP`:await this.value(i)===0&&(r[p.PC]+=o)}}clear(){for(let e of this.picture.cleared){let{index:t}=e;this.dispatch(`clear`,[t,t,t],Q(this.rows(e)*e.rowWords)),this.mark(t)}}dispatch(e,t,n){if(n<1)return;this.waiting.length===P.CALLS&&this.submit(),this.calls.set(t,P.ALIGNED*this.waiting.length);let r=this.pipelines.get(e);this.waiting.push({pipeline:r,groups:Math.min(n,P.MOST_GROUPS)})}async flush(){await this.flight,this.gpu.check();let e=performance.now();this.submit();let t=()=>{let t=performance.now()-e;t<On?this.most=Math.min(2*this.most,P.CALLS):t>kn&&(this.most=Math.max(this.most>>1,1))};this.flight=this.gpu.device.queue.onSubmittedWorkDone().then(t,()=>void 0)}submit(){if(!this.waiting.length)return;let{device:e}=this.gpu,t=this.waiting.length;this.gpu.write(this.uniform,0,this.calls.subarray(0,P.ALIGNED*t));let n=e.createCommandEncoder(),r=n.beginComputePass();this.waiting.forEach(({pipeline:e,groups:t},n)=>{r.setPipeline(e),r.setBindGroup(0,this.group,[4*P.ALIGNED*n]),r.dispatchWorkgroups(t)}),r.end(),e.queue.submit([n.finish()]),this.waiting=[]}close(){this.scratch?.destroy(),this.uniform?.destroy()}},Nn=new Set;function Pn(){let e=`read-only-storage`;return[`uniform`,e,`storage`,`storage`,...Array(P.WINDOWS).fill(e)].map((e,t)=>({binding:t,visibility:GPUShaderStage.COMPUTE,buffer:{type:e,hasDynamicOffset:e===`uniform`}}))}var Fn=1<<20,In={[_.yielded]:`yielded`,[_.halted]:`halted`},Ln=class e extends tn{opened;tensors;planned;history;made=0;paused=!1;recording=!0;constructor(e,t,n,r,i,a){super(t,e.name,a),this.opened=n,this.tensors=r,this.planned=i,i.state.set(xe(n,this.verified.stateStart)),this.history=new xn(e,r)}get verified(){return this.tensors.program}take({index:e}){return this.alone(async()=>(await this.tensors.words([e])).get(e))}give({index:e},t){return this.alone(async()=>this.replace(e,t))}registers(){return this.alone(async()=>this.planned.state.slice())}setRegisters(e){return this.alone(async()=>this.planned.state.set(e))}proceed(){return this.run()}record(e){this.recording=e,this.history.clear()}static async start(t,n,r,i,a,o){t.isSoftware&&_n(i,t.name);let s=e=>o&&((t,n)=>o(t,n,e)),c=new Dn(t,n,i,Tn(i)),l=new Mn(t,i,c);try{await c.upload(s(`upload`)),await l.prepare(s(`shaders`))}catch(e){throw l.close(),c.close(),e}return new e(t,r,n,c,l,a)}async execute(e){let t=this.recording&&this.looking();return t&&await this.history.keep(this.made,this.planned.state),await this.go(e.maxSteps??1/0,e),this.standing(t?await t():[])}standing(e=[]){let{state:t}=this.planned;return{status:In[t[p.STATUS]]??(this.paused?`paused`:`ready`),counter:t[p.PC],steps:t[p.STEPS],changed:e}}async go(e,{breakpoints:t=[],until:n,watch:r=[]}){let i=new Set(n===void 0?t:[...t,n]),a=r.length?await this.watcher(r):void 0,o=e=>this.paused||=e;this.paused=!1,this.made+=await this.planned.run({maxSteps:e,stopped:()=>o(this.stopping),before:e=>o(i.has(e)),after:a&&(async e=>o(await a(e)))})}async watcher(e){let{width:t}=this.verified,n=this.tensors.loose.filter(n=>Rn(n,t,e)),r=()=>this.tensors.words(n.map(e=>e.index)),i=await r();return async a=>{let o=n.filter(e=>a.has(e.index));if(!o.length)return!1;await this.planned.flush();let s=await r(),c=o.flatMap(({index:e})=>Xt(this.verified.descriptors[e],t,i.get(e),s.get(e)));return i=s,c.some(t=>e.some(e=>Qt(t,e)))}}looking(){let{planned:e,tensors:t}=this,{width:n,stateStart:r,descriptors:i}=this.verified,[a,o]=[t.seen(),e.state.slice()];return e.wrote.clear(),async()=>{let s=[...e.wrote].map(e=>i[e]),c=s.filter(e=>t.at(e.index)===void 0);c.reduce((e,t)=>e+t.rows*t.rowWords,0)<=Fn&&await t.words(c.map(e=>e.index));let l=s.flatMap(e=>{let[r,i]=[a(e.index),t.at(e.index)];return r&&i?Xt(e,n,r,i):e.rects(n)});return e.state.forEach((e,t)=>{if(e===o[t])return;let i=r+t;l.push({x:i%n,y:Math.floor(i/n),width:1,height:1})}),l}}async goBack(e){let t=Math.max(this.made-e,0),n=this.looking();for(let e of this.tensors.changedTensors)this.planned.wrote.add(e);this.paused=!1,this.made=this.history.restore(t,this.planned.state);for(let{steps:e,tensor:t,words:n}of this.history.since(this.made))await this.replay(e),this.made===e&&this.tensors.put(t,n);return await this.replay(t),this.standing(await n())}async replay(e){for(;this.made<e&&!this.stopping;)await this.go(e-this.made,{})}async values(e){let t=this.tensor(e);return this.tensors.layout.places.has(e)?yt((await this.tensors.words([e])).get(e),t):yt(_e(this.opened,t,0,t.rows),t)}async put(e,t){this.replace(e,bt(t,this.tensor(e)))}replace(e,t){this.tensors.put(e,t),this.recording&&this.history.note(this.made,e,t)}tensor(e){let t=this.verified.descriptors[e];if(!t?.isTensor)throw new a(`expected the number of a tensor; found ${e}`);return t}async part(e){let{width:t,descriptors:n,stateStart:r}=this.verified,i=en(this.opened.words,t,e),a=[...this.tensors.changedTensors].filter(r=>Rn(n[r],t,[e]));for(let[r,o]of await this.tensors.words(a))$t(e,i,n[r],t,o);return this.planned.state.forEach((n,a)=>{let o=r+a,[s,c]=[o%t-e.x,Math.floor(o/t)-e.y];s>=0&&s<e.width&&c>=0&&c<e.height&&(i[c*e.width+s]=n)}),i}async pixels(){let{width:e,descriptors:t,stateStart:n}=this.verified,r=this.opened.words.slice();for(let[n,i]of await this.tensors.words(this.tensors.changedTensors))Cn(r,e,t[n],i);return r.set(new Uint32Array(this.planned.state.buffer),n),{...this.opened,words:r}}release(){this.history.close(),this.planned.close(),this.tensors.close()}};function Rn(e,t,n){return e.rects(t).some(e=>n.some(t=>Qt(e,t)))}var zn=e({gpuAvailable:()=>Ze,startGpu:()=>Bn});async function Bn(e,t){let{program:r}=e;if(!r)throw new n(e.refused??`${e.name}: expected a program; found a ${e.kind}`);let a=await $e.shared();if(r.dialect===0)return on.start(a,e,r,i);let{picture:o}=e;return Ln.start(a,o,r,Fe(o),i,t)}export{zn as t};